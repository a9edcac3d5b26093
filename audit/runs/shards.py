"""The shard store: content-addressed; a shard exists whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audit.atomic import replacing, replacing_folder
from audit.errors import RunError
from audit.runs.files import file_digest, read_json, write_json
from audit.tables import TABLES, Table, attributes_of, write_table

DIGESTS = "digests.json"

Positions = npt.NDArray[np.int64]


def slices(positions: Positions, shard_size: int) -> list[Positions]:
    """Positions cut into shards of a fixed size; the last one may be smaller."""
    return [positions[i : i + shard_size] for i in range(0, len(positions), shard_size)]


def shard_folder(shards: Path, digest: str, index: int) -> Path:
    """Folder of one shard."""
    return shards / digest[:16] / f"{index:05d}"


def write_shard(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write a shard's tables and their digests, all of them or none.

    One that another process finished meanwhile stays: its numbers are the same. A damaged one in
    its place is removed.
    """
    with replacing_folder(folder, keep=is_whole) as temporary:
        for name, frame in tables.items():
            write_table(frame, TABLES[name], temporary / f"{name}.parquet")
        write_json(temporary / DIGESTS, _digests(temporary))


def is_whole(folder: Path) -> bool:
    """Whether a shard is there, with exactly the tables that were written."""
    try:
        return bool(found := _digests(folder)) and read_json(folder / DIGESTS) == found
    except (RunError, OSError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in folder.glob("*.parquet")}


def merge_shards(folders: list[Path], table: Table, target: Path) -> None:
    """Concatenate one table of all shards into one file, a shard at a time."""
    with (
        replacing(target) as temporary,
        pq.ParquetWriter(temporary, _schema(folders, table), compression="zstd") as writer,
    ):
        for part in _parts(folders, table):
            writer.write_table(part)


def _parts(folders: list[Path], table: Table) -> Iterator[pa.Table]:
    for folder in folders:
        yield pq.read_table(folder / f"{table.name}.parquet")


def _schema(folders: list[Path], table: Table) -> pa.Schema:
    stored = pq.read_schema(folders[0] / f"{table.name}.parquet") if folders else None
    names = stored.names if stored else []
    return table.schema(attributes_of(pd.DataFrame(columns=names)))
