"""A CSV or Parquet table with one row a sample."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.config import Data
from audit.data.files import files_of
from audit.data.sources.base import Manifest, Progress, source
from audit.errors import DataError

_MISSING = {"nan", "<na>", "null"}  # in any case; 'NA' and 'none' are used as real values


@source("manifest")
def read(data: Data, workers: int, progress: Progress | None) -> Manifest:
    """Read ``data.manifest``; paths in it are relative to its folder."""
    files = files_of(data.root)
    path, shown = files.table(data.manifest, "data.manifest"), files.shown(data.manifest)
    parquet = PurePosixPath(data.manifest).suffix.lower() in {".parquet", ".pq"}
    rows = _read_parquet(path, shown) if parquet else _read_csv(path, shown)
    return Manifest(_with_blanks(rows), files.beside(data.manifest), data)


def _read_csv(path: Path, shown: str) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            header = next(lines, [])
            rows = [_checked(line, header, lines.line_num, shown) for line in lines if line]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{shown}: not a readable CSV table in UTF-8 ({error})") from error
    if len(set(header)) < len(header):
        raise DataError(f"{shown}: two columns have the same name: {', '.join(header)}")
    return pd.DataFrame(rows, columns=header, dtype=str)


def _checked(line: list[str], header: list[str], number: int, shown: str) -> list[str]:
    if len(line) != len(header):
        raise DataError(f"{shown}:{number}: {len(line)} values for {len(header)} columns")
    return line


def _read_parquet(path: Path, shown: str) -> pd.DataFrame:
    """The columns that can be text: neither nested nor binary ones."""
    try:
        table = pq.read_table(path)
        names = [field.name for field in table.schema if _is_textual(field.type)]
        return pd.DataFrame({name: _texts(table.column(name)) for name in names})
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{shown}: not a readable Parquet table ({error})") from error


def _is_textual(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_textual(kind.value_type)
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return not pa.types.is_nested(kind) and not any(is_kind(kind) for is_kind in binary)


def _texts(column: pa.ChunkedArray) -> pd.Series:
    return pd.Series(pc.cast(column, pa.string()).to_pylist(), dtype=str)


def _with_blanks(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with ``""`` for every missing value."""
    rows = rows.fillna("")
    blank = rows.apply(lambda column: column.str.strip().str.lower().isin({"", *_MISSING}))
    return rows.mask(blank, "")
