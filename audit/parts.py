"""Stored tables read part by part: memory holds one part, however long the table is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.errors import RunError

PART_ROWS = 2**15


@dataclass(frozen=True)
class Parts:
    """A stored table as DataFrames of at most ``rows`` rows, read anew by every iteration.

    Attributes
    ----------
    path
        The Parquet file.
    columns
        Columns that are read.
    where
        Value that a column must have, by its name.
    rows
        Of a part, at most.
    """

    path: Path
    columns: tuple[str, ...]
    where: Mapping[str, str] = field(default_factory=dict)
    rows: int = PART_ROWS

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The parts, in the order of the file.

        Raises
        ------
        RunError
            If the file is missing or is not such a table.
        """
        if not self.path.is_file():
            raise missing(self.path)
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                refuse_without(self.path, self.columns, file.schema_arrow.names)
                wanted = [*self.columns, *(name for name in self.where if name not in self.columns)]
                for batch in file.iter_batches(self.rows, columns=wanted):
                    yield self._picked(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(self.path, error) from error

    def _picked(self, part: pa.Table) -> pd.DataFrame:
        for name, value in self.where.items():
            part = part.filter(pc.field(name) == value)
        frame: pd.DataFrame = part.select(list(self.columns)).to_pandas()
        return frame


Rows = pd.DataFrame | Parts


def parts_of(rows: Rows) -> Iterable[pd.DataFrame]:
    """A table in memory as its only part, or the parts of a stored one."""
    return [rows] if isinstance(rows, pd.DataFrame) else rows


def missing(path: Path) -> RunError:
    """The error of a table that is not there."""
    return RunError(f"{path}: no such table; the run did not get that far (start it again)")


def unreadable(path: Path, error: Exception) -> RunError:
    """The error of a file that is no Parquet."""
    return RunError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})")


def refuse_without(path: Path, wanted: Iterable[str], there: Iterable[str]) -> None:
    """Refuse a table that lacks columns.

    Raises
    ------
    RunError
        Naming them.
    """
    if lacking := sorted(set(wanted) - set(there)):
        raise RunError(f"{path}: column(s) missing: {', '.join(lacking)}")
