"""The shard store: content-addressed; a shard exists whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.atomic import replacing, replacing_folder
from audit.errors import RunError
from audit.runs.files import file_digest, json_text, read_json
from audit.tables import SAMPLES, TABLES, Table, attributes_of, to_arrow

MEASURED = ("prediction", "score", "margin", "true_margin")

DIGESTS = "digests.json"
_ROW_GROUP_BYTES = 2**24  # in memory

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
            # Flushed with the folder.
            pq.write_table(
                to_arrow(frame, TABLES[name]), temporary / f"{name}.parquet", compression="zstd"
            )
        text = json_text(_digests(temporary))
        (temporary / DIGESTS).write_text(text, encoding="utf-8")


def is_whole(folder: Path) -> bool:
    """Whether a shard is there, with exactly the tables that were written."""
    try:
        return bool(found := _digests(folder)) and read_json(folder / DIGESTS) == found
    except (RunError, OSError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in folder.glob("*.parquet")}


def merge_shards(folders: list[Path], table: Table, target: Path) -> None:
    """Concatenate one table of all shards into one file, some shards at a time."""
    with replacing(target) as temporary:
        schema = _schema(folders, table)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for part in _row_groups(folders, table):
                writer.write_table(part)


def merge_samples(folders: list[Path], checked: Path, target: Path) -> None:
    """The checked samples, with what the model says of those that are in a shard.

    Parameters
    ----------
    folders
        Of all shards.
    checked
        The table of the samples before the model has seen them.
    target
        Where the table is written; whole or not at all.
    """
    samples = pq.read_table(checked)
    columns = ["sample_id", *MEASURED]
    found = [_read(folder, SAMPLES, columns) for folder in folders]
    nothing = SAMPLES.schema().empty_table().select(columns)
    scored = pa.concat_tables([nothing, *found]).unify_dictionaries().combine_chunks()
    # An id is unique among usable samples, whatever part they are in.
    at = pc.index_in(samples["sample_id"], value_set=scored["sample_id"])
    for name in MEASURED:
        place = samples.schema.get_field_index(name)
        samples = samples.set_column(place, SAMPLES.schema().field(name), scored[name].take(at))
    with replacing(target) as temporary:
        pq.write_table(samples, temporary, compression="zstd")


def _row_groups(folders: list[Path], table: Table) -> Iterator[pa.Table]:
    """The shards' tables, together as many as fit in a row group.

    A row group for each shard would make the file's directory longer than memory likes.
    """
    held: list[pa.Table] = []
    size = 0
    for folder in folders:
        held.append(_read(folder, table))
        size += held[-1].nbytes
        if size >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(held).unify_dictionaries()
            held, size = [], 0
    if held:
        yield pa.concat_tables(held).unify_dictionaries()


def _read(folder: Path, table: Table, columns: list[str] | None = None) -> pa.Table:
    with pq.ParquetFile(folder / f"{table.name}.parquet") as file:
        return file.read(columns, use_threads=False)  # small: threads cost more


def _schema(folders: list[Path], table: Table) -> pa.Schema:
    stored = pq.read_schema(folders[0] / f"{table.name}.parquet") if folders else None
    names = stored.names if stored else []
    return table.schema(attributes_of(pd.DataFrame(columns=names)))
