"""Files and folders that exist whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

#: No room to write, and what to do about it.
NO_ROOM = {
    errno.ENOSPC: "free some",
    errno.EDQUOT: "free some of the quota",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
}

_TOLD_BY_RUST = re.compile(r"\(os error (\d+)\)")
_NOT_SYNCED = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)  # file systems that sync no folders
_ATTEMPTS = 10


def temporary_name(path: Path) -> Path:
    """A name beside ``path`` that no other process, on whatever machine, chooses."""
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write beside ``path``, flushed to disk and renamed to it at the end.

    If writing fails, ``path`` stays as it was and the temporary file is removed.

    Raises
    ------
    OSError
        If there is no room, whatever the library that was writing made of it; names ``path``.
    """
    temporary = temporary_name(path)
    try:
        with _naming(path):
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(
    folder: Path, keep: Callable[[Path], bool] = lambda there: False
) -> Iterator[Path]:
    """A temporary folder to fill beside ``folder``, flushed with all it holds, renamed at the end.

    Parameters
    ----------
    folder
        The folder; its parents are made.
    keep
        Whether a folder that is in its place by then is as good; any other is removed.

    Raises
    ------
    OSError
        As :func:`replacing`.
    """
    temporary = temporary_name(folder)
    try:
        with _naming(folder):
            temporary.mkdir(parents=True)
            yield temporary
            for inside in temporary.rglob("*"):
                if not inside.is_dir():
                    _flush(inside)
                else:
                    _flush_folder(inside)
            _flush_folder(temporary)
            _place(temporary, folder, keep)
            _flush_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, in one step for whoever reads it; nothing is done where none is."""
    doomed = temporary_name(folder)
    try:
        folder.replace(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed)


def _place(temporary: Path, folder: Path, keep: Callable[[Path], bool]) -> None:
    """Rename, although other writers may do the same at any moment."""
    for attempt in range(_ATTEMPTS):
        try:
            temporary.replace(folder)
            return
        except OSError as error:  # a folder can only take the place of an empty one
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == _ATTEMPTS - 1:
                raise
        if keep(folder):
            return
        remove_folder(folder)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an error of the system name ``path``, and one that a library hid show itself."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    except Exception as error:
        if (number := _no_room(error)) is not None:
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _no_room(error: BaseException | None) -> int | None:
    """Number of the system's error behind that of a library, if it says that there is no room."""
    while error is not None:
        told = _TOLD_BY_RUST.search(str(error))
        number = error.errno if isinstance(error, OSError) else told and int(told[1])
        if number in NO_ROOM:
            return number
        error = error.__cause__ or error.__context__
    return None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut, where the file system can."""
    if os.name == "nt":
        return
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise
