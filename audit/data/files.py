"""Where the files of a data set may lie."""

from __future__ import annotations

import os
import posixpath
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from audit.data.copies import Store, store_of
from audit.data.reasons import Kind, bad
from audit.errors import DataError


class Files(ABC):
    """The files of a data set. Paths are relative to a folder: the root, or one inside it."""

    @abstractmethod
    def find(self, path: str, missing: Kind) -> Path:
        """Path, on this machine, of an existing file.

        Raises
        ------
        BadSample
            ``outside the data root``; or of the kind ``missing`` if there is no such file.
        DataError
            If a remote file cannot be read, see :class:`audit.data.copies.Store`.
        """

    @abstractmethod
    def from_root(self, path: str) -> str:
        """A path of the manifest, relative to the data root."""

    @abstractmethod
    def table(self, name: str, key: str) -> Path:
        """Path, on this machine, of a table of the data set as a whole, named from the root.

        Raises
        ------
        DataError
            If it is missing or lies outside the root; names the key of the configuration.
        """

    @abstractmethod
    def beside(self, name: str) -> Files:
        """The same files, with paths relative to the folder of a table."""

    @abstractmethod
    def at_root(self) -> Files:
        """The same files, with paths relative to the root."""

    @abstractmethod
    def shown(self, name: str = "") -> str:
        """What people call the root, or a table in it."""


@dataclass(frozen=True)
class LocalFiles(Files):
    """Files of a folder.

    Parameters
    ----------
    root
        The data root. Nothing outside it is read, not even through a symbolic link.
    folder
        The folder that paths in the manifest are relative to: the root, or one inside it.
    """

    root: Path
    folder: Path

    @cached_property
    def _real_root(self) -> str:
        return os.path.realpath(self.root)

    def find(self, path: str, missing: Kind) -> Path:
        """See :meth:`Files.find`."""
        _check_named(path, missing)
        found = _resolved(os.path.join(self.folder, path))  # noqa: PTH118
        if os.path.commonpath([found, self._real_root]) != self._real_root:
            raise bad(Kind.OUTSIDE_ROOT, f"'{path}'")
        # Unlike Path.is_file, this one answers for names that are too long as well.
        if not os.path.isfile(found):  # noqa: PTH113
            raise bad(missing, f"no such file '{path}'")
        return Path(found)

    def from_root(self, path: str) -> str:
        """See :meth:`Files.from_root`."""
        return (self.folder.relative_to(self.root) / path).as_posix()

    def table(self, name: str, key: str) -> Path:
        """See :meth:`Files.table`."""
        path = self.root / name
        # Unlike Path.is_file, this one answers for names that are too long as well.
        if not os.path.isfile(path):  # noqa: PTH113
            raise DataError(f"{key}: no such file: {path}")
        for place in (path, path.parent):
            if not place.resolve().is_relative_to(self.root.resolve()):
                raise DataError(f"{key}: lies outside data.root: {path}")
        return path

    def beside(self, name: str) -> LocalFiles:
        """See :meth:`Files.beside`."""
        # Resolved, so that the one lies in the other however both are named.
        return LocalFiles(self.root.resolve(), (self.root / name).parent.resolve())

    def at_root(self) -> LocalFiles:
        """See :meth:`Files.at_root`."""
        return LocalFiles(self.root, self.root)

    def shown(self, name: str = "") -> str:
        """See :meth:`Files.shown`."""
        return str(self.root / name)


@dataclass(frozen=True)
class RemoteFiles(Files):
    """Files behind a URL, read through copies.

    Parameters
    ----------
    store
        The data root; no key that leads out of it is asked for.
    folder
        As of :class:`LocalFiles`, relative to the root.
    """

    store: Store
    folder: PurePosixPath

    def find(self, path: str, missing: Kind) -> Path:
        """See :meth:`Files.find`."""
        _check_named(path, missing)
        key = _key(self.folder, path)
        if key is None:
            raise bad(Kind.OUTSIDE_ROOT, f"'{path}'")
        try:
            return self.store.copy_of(key)
        except OSError as error:
            raise bad(missing, f"no such file '{path}'") from error

    def from_root(self, path: str) -> str:
        """See :meth:`Files.from_root`."""
        return (self.folder / path).as_posix()

    def table(self, name: str, key: str) -> Path:
        """See :meth:`Files.table`."""
        wanted = _key(PurePosixPath(), name)
        if wanted is None:
            raise DataError(f"{key}: lies outside data.root: {self.shown(name)}")
        try:
            return self.store.copy_of(wanted)
        except OSError as error:
            raise DataError(f"{key}: no such file: {self.shown(name)}") from error

    def beside(self, name: str) -> RemoteFiles:
        """See :meth:`Files.beside`."""
        return RemoteFiles(self.store, PurePosixPath(posixpath.normpath(name)).parent)

    def at_root(self) -> RemoteFiles:
        """See :meth:`Files.at_root`."""
        return RemoteFiles(self.store, PurePosixPath())

    def shown(self, name: str = "") -> str:
        """See :meth:`Files.shown`."""
        return f"{self.store.url}/{name}" if name else self.store.url


def files_of(root: Path | str | None) -> Files:
    """The files of a data root, with paths relative to it.

    Raises
    ------
    DataError
        If there is no such folder, or the library of a URL's protocol is not installed.
    """
    if isinstance(root, str):
        return RemoteFiles(store_of(root), PurePosixPath())
    # Unlike Path.is_dir, this one answers for names that are too long as well.
    if root is None or not os.path.isdir(root):  # noqa: PTH112
        raise DataError(f"data.root: no such folder: {root}")
    return LocalFiles(root, root)


def _check_named(path: str, missing: Kind) -> None:
    if not path:
        raise bad(missing, "no path is given")
    if "\0" in path:
        raise bad(missing, "the path holds a null character")


def _key(folder: PurePosixPath, path: str) -> str | None:
    """A path as a key under the root; None if it leads out of it, however a server reads it."""
    if "://" in path or _leads_out(folder, path):
        return None
    return posixpath.normpath((folder / path).as_posix())


def _leads_out(folder: PurePosixPath, path: str) -> bool:
    """Whether a path is absolute or climbs out, read with backslashes or %2e as well."""
    while True:
        for form in (path, path.replace("\\", "/")):
            whole = posixpath.normpath(posixpath.join(folder.as_posix(), form))
            if whole.startswith("/") or whole.split("/")[0] == "..":
                return True
        path, before = unquote(path), path
        if path == before:
            return False


def _resolved(path: str) -> str:
    """``os.path.realpath``, the folders looked up once."""
    folder, name = os.path.split(path)
    found = os.path.join(_real_folder(folder), name)  # noqa: PTH118
    plain = name not in ("", ".", "..") and not os.path.islink(found)  # noqa: PTH114
    return found if plain else os.path.realpath(path)


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)
