"""Copies, on this machine, of the files of a remote place."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4

import fsspec

from audit.data.cache import cache_folder
from audit.errors import DataError
from audit.urls import STORES

T = TypeVar("T")

WAITS = (0.5, 2.0, 8.0)  # seconds before another try
_LONGEST_KEY = 1024  # bytes; that of S3, and more than others take
_LOCKS = 64
_CHANGES = 3  # times that a file may change while it is fetched
_STALLED = 3600 * 10**9  # ns after which an unfinished copy is nobody's
_UNKNOWN = "unknown-"  # starts the name of a copy of a file that nothing tells of
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

# What tells one state of a file from another; which of them there are depends on the protocol.
_MARKS = (
    *("ETag", "etag", "md5Hash", "md5", "content_md5", "Content-MD5", "Digest", "crc32c"),
    *("generation", "VersionId", "version_id", "LastModified", "last_modified", "Last-Modified"),
    *("updated", "modified", "mtime", "created"),
)


@dataclass(frozen=True)
class Store:
    """A remote place, whose files are read through copies in a folder of this machine.

    A copy is named by the checksum, version or time and size that the place gives for the file, so
    the copy of another state is never taken for it. Each copy is compared with the place once per
    process, or oftener (:func:`compare_anew`); where the place gives neither checksum nor time it
    is fetched again instead. A protocol that tells times in whole seconds alone (SFTP) hides a
    change within the second to the same size.

    Memory does not grow with the number of files. The folder grows to the size of all that was
    read; an older copy goes when a newer one comes. It may be deleted whenever no run uses it.
    Threads and processes may share it: a copy is written aside and renamed, and both get the same.

    Parameters
    ----------
    url
        The place, without a slash at the end.
    system
        The fsspec file system.
    prefix
        The place as the file system calls it.
    folder
        Where the copies lie; nobody else may read them.
    since
        Time of that folder's clock (ns). Copies compared later are used without asking again.
    locks
        Held while a file is fetched.
    """

    url: str
    system: Any
    prefix: str
    folder: Path
    since: int
    locks: tuple[Lock, ...] = field(default_factory=lambda: tuple(Lock() for _ in range(_LOCKS)))

    def copy_of(self, key: str) -> Path:
        """Path of an up-to-date copy of the file with this key, a path relative to the place.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, NotADirectoryError
            If there is no such file.
        DataError
            If it cannot be read, after some tries; that says nothing about the file.
        """
        name = key.encode("utf-8", "surrogatepass")
        if len(name) > _LONGEST_KEY:
            raise FileNotFoundError(errno.ENOENT, "name too long", key)
        digest = hashlib.sha256(name).hexdigest()
        folder = self.folder / digest[:2] / digest[2:40]
        if compared := self._compared(folder):
            return compared
        with self.locks[int(digest[:4], 16) % _LOCKS]:  # one thread fetches what several want
            compared = self._compared(folder)
            path = f"{self.prefix}/{key}"
            return compared or self._tried(key, lambda: self._fetched(path, folder))

    def keys(self) -> list[str]:
        """Keys of all files, sorted.

        Raises
        ------
        DataError
            If they cannot be listed, or there are none.
        """

        def listed() -> list[str]:
            self.system.invalidate_cache()
            return [str(path) for path in self.system.find(self.prefix)]

        start = f"{self.prefix}/"
        try:
            paths = self._tried("", listed)
        except _MISSING:
            paths = []
        keys = [path.removeprefix(start) for path in paths if path.startswith(start)]
        if not keys:
            raise DataError(f"data.root: no such folder, or an empty one: {self.url}")
        return sorted(keys)

    def _compared(self, folder: Path) -> Path | None:
        """The copy that was compared with the place since, if there is one."""
        try:
            found = [e for e in os.scandir(folder) if not e.name.startswith(".")]
            times = [(entry.stat().st_mtime_ns, entry.path) for entry in found]
        except FileNotFoundError:  # or another process removed one just now
            return None
        latest, path = max(times, default=(0, ""))
        return Path(path) if latest > self.since else None

    def _fetched(self, path: str, folder: Path) -> Path:
        for _ in range(_CHANGES):
            state, size = self._state(path)
            copy = folder / state
            try:
                os.utime(copy)
                return copy
            except FileNotFoundError:
                folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f".{uuid4().hex}.tmp"
            try:
                self.system.get_file(path, str(draft))
                whole = size is None or draft.stat().st_size == size
                if whole and (state.startswith(_UNKNOWN) or self._state(path)[0] == state):
                    _to_disk(draft)
                    draft.replace(copy)
                    self._drop_others(copy)
                    return copy
            except FileNotFoundError:  # gone just now, which the next look tells
                continue
            finally:
                draft.unlink(missing_ok=True)
        raise OSError(f"it changed while it was read, or came in part, {_CHANGES} times")

    def _state(self, path: str) -> tuple[str, int | None]:
        """What a copy of the file as it is now is called, and its size if that is told."""
        self.system.invalidate_cache()
        info: Mapping[str, Any] = self.system.info(path)
        if info.get("type") != "file":
            raise IsADirectoryError(errno.EISDIR, "not a file", path)
        marks = [(name, str(info[name])) for name in _MARKS if info.get(name) is not None]
        size = info.get("size")
        if not marks:
            return f"{_UNKNOWN}{uuid4().hex}", size
        return hashlib.sha256(repr((marks, size)).encode()).hexdigest()[:40], size

    def _drop_others(self, copy: Path) -> None:
        """Remove copies of earlier states, and what a killed process left."""
        for other in copy.parent.iterdir():
            try:
                kept = _STALLED if other.name.startswith(".") else 0
                if other != copy and other.stat().st_mtime_ns + kept <= self.since:
                    other.unlink()
            except FileNotFoundError:  # another process was quicker
                continue

    def _tried(self, key: str, read: Callable[[], T]) -> T:
        """The result of ``read``, tried again where the fault may be the network's."""
        for wait in (*WAITS, None):
            try:
                return read()
            except _MISSING:
                raise
            # Each protocol's library has errors of its own, and few are OSError.
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                    raise FileNotFoundError(errno.ENOENT, "name too long", key) from error
                if isinstance(error, PermissionError) or wait is None:
                    raise self._unreadable(key, error) from error
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _unreadable(self, key: str, error: Exception) -> DataError:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        todo = (
            "the credentials must allow to read and to list"
            if isinstance(error, PermissionError)
            else "no sample is blamed"
        )
        return DataError(
            f"data.root: {self.url}: cannot read '{key}' ({told}); {todo}; start the run again "
            "when it can be read, and it goes on where it stopped"
        )


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def store_of(url: str) -> Store:
    """The place that a checked URL names; one object per process.

    Raises
    ------
    DataError
        If the protocol's library is not installed; or the place or the cache cannot be opened.
    """
    return _store(url, os.getpid())  # connections do not survive a fork


def compare_anew() -> None:
    """Compare every copy with its place again, for a process that reads data a second time."""
    _store.cache_clear()


@lru_cache(maxsize=8)
def _store(url: str, process: int) -> Store:
    protocol = url.partition(":")[0]
    try:
        system, prefix = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DataError(
            f"data.root: {protocol}:// needs a library: pip install '{STORES[protocol]}' ({error})"
        ) from error
    except Exception as error:  # a library that finds no host, region or credentials
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(f"data.root: cannot open {url} ({told})") from error
    folder = cache_folder() / f"remote-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Store(url, system, str(prefix).rstrip("/"), folder, _now(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot keep copies of {url} there ({error})") from error


def _now(folder: Path) -> int:
    """Time by the clock that stamps the files of a folder, ns."""
    probe = folder / f".{uuid4().hex}.tmp"
    probe.touch()
    now = probe.stat().st_mtime_ns
    probe.unlink()
    return now
