"""Where the files of a data set may lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from audit.data.reasons import Kind, bad
from audit.errors import DataError


@dataclass(frozen=True)
class Files:
    """The files of a data set.

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
        """Path of an existing file.

        Raises
        ------
        BadSample
            ``outside the data root``; or of the kind ``missing`` if there is no such file.
        """
        if not path:
            raise bad(missing, "no path is given")
        if "\0" in path:
            raise bad(missing, "the path holds a null character")
        found = _resolved(os.path.join(self.folder, path))  # noqa: PTH118
        if os.path.commonpath([found, self._real_root]) != self._real_root:
            raise bad(Kind.OUTSIDE_ROOT, f"'{path}'")
        # Unlike Path.is_file, this one answers for names that are too long as well.
        if not os.path.isfile(found):  # noqa: PTH113
            raise bad(missing, f"no such file '{path}'")
        return Path(found)

    def from_root(self, path: str) -> str:
        """A path of the manifest, relative to the data root."""
        return (self.folder.relative_to(self.root) / path).as_posix()


def _resolved(path: str) -> str:
    """``os.path.realpath``, the folders looked up once."""
    folder, name = os.path.split(path)
    found = os.path.join(_real_folder(folder), name)  # noqa: PTH118
    plain = name not in ("", ".", "..") and not os.path.islink(found)  # noqa: PTH114
    return found if plain else os.path.realpath(path)


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def table_in_root(root: Path, name: str, key: str) -> Path:
    """Path of a table that belongs to the data set as a whole.

    Raises
    ------
    DataError
        If it is missing or lies outside the root; names the key of the configuration.
    """
    path = root / name
    # Unlike Path.is_file, this one answers for names that are too long as well.
    if not os.path.isfile(path):  # noqa: PTH113
        raise DataError(f"{key}: no such file: {path}")
    for place in (path, path.parent):
        if not place.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{key}: lies outside data.root: {path}")
    return path
