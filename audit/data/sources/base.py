"""What a source gives, and the registry of sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from audit.config import Data
from audit.data.files import Files
from audit.errors import DataError

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Manifest:
    """The rows of a data set, whatever format they came from.

    Parameters
    ----------
    rows
        One row a sample; every column is text, a missing value is ``""``.
    files
        Where the files named in the rows lie.
    data
        The settings, with what the source itself knows (root, columns, split filters) filled in.
    """

    rows: pd.DataFrame
    files: Files
    data: Data

    def require(self, columns: list[str], wanted_by: str) -> None:
        """Check that the manifest has columns.

        Raises
        ------
        DataError
            Naming the missing column and the available ones.
        """
        for column in columns:
            if column not in self.rows.columns:
                available = ", ".join(map(str, self.rows.columns))
                raise DataError(f"{wanted_by}: no column '{column}'; available are: {available}")


Source = Callable[[Data, int, Progress | None], Manifest]

SOURCES: dict[str, Source] = {}


def source(name: str) -> Callable[[Source], Source]:
    """Register a reader of samples under its name in the configuration."""

    def register(reader: Source) -> Source:
        SOURCES[name] = reader
        return reader

    return register


def read_samples(data: Data, *, workers: int = 2, progress: Progress | None = None) -> Manifest:
    """Read the rows of a data set.

    Parameters
    ----------
    data
        The settings.
    workers, progress
        For a source that has to make its pictures first.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    manifest = SOURCES[data.source](data, workers, progress)
    if manifest.rows.empty:
        raise DataError(f"{manifest.files.shown()}: no samples found")
    return manifest
