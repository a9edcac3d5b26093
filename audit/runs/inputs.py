"""The table of a run's input files: what differs between two, and the files of the model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pandas.util import hash_array

from audit.atomic import replacing
from audit.config import Audit
from audit.errors import RunError
from audit.runs.changes import changes, refuse
from audit.runs.files import read_json
from audit.runs.folder import Run
from audit.tables import FILES

_AT_ONCE = 1_000_000  # files compared at once
_NAMED = 3  # files per kind of change in a message
_LONGEST = 120  # characters of a name

Row = tuple[str, str, int | None, str]  # kind, path, bytes, SHA-256


def files_changed(before: Path, now: Path) -> list[str]:
    """Which files differ between two tables ``files``: changed, missing and new ones.

    One phrase for each, with their number and the names of the first few. A file that was missing
    or unreadable all the time is no change. Memory does not grow with the number of files that are
    the same: they are compared in parts, told apart by a hash of the path.

    Raises
    ------
    RunError
        If one is no such table.
    """
    parts = 1 + max(_count(before), _count(now)) // _AT_ONCE
    counts: Counter[str] = Counter()
    names: dict[str, list[str]] = defaultdict(list)
    for part in range(parts):
        for what, paths in _differing(_read(before, part, parts), _read(now, part, parts)).items():
            counts[what] += len(paths)
            names[what] = sorted(names[what] + paths.sort()[:_NAMED].to_pylist())[:_NAMED]
    return [f"{what}: {_some(names[what], counts[what])}" for what in names if counts[what]]


def _differing(before: pa.Table, now: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The names of the files that differ, by the kind of change."""
    both = before.join(now, ["kind", "path"], join_type="full outer", right_suffix=" now")
    was, listed = (pc.is_valid(both[f"listed{suffix}"]) for suffix in ("", " now"))
    had, has = (pc.is_valid(both[f"sha256{suffix}"]) for suffix in ("", " now"))
    groups = {
        "changed": pc.fill_null(pc.not_equal(both["sha256"], both["sha256 now"]), False),
        "missing": pc.and_(had, pc.and_not(listed, has)),
        "no longer listed": pc.and_not(was, listed),
        "new": pc.and_not(has, had),
    }
    return {what: both["path"].filter(chosen) for what, chosen in groups.items()}


def with_files(data: Path, more: Sequence[Row], target: Path) -> None:
    """Write a table ``files`` again with rows more, some rows at a time.

    Raises
    ------
    RunError
        If it is no such table.
    """
    schema = FILES.schema()
    with replacing(target) as draft, pq.ParquetWriter(draft, schema, compression="zstd") as out:
        try:
            with pq.ParquetFile(data) as stored:
                for batch in stored.iter_batches():
                    out.write_table(pa.Table.from_batches([batch]).cast(schema))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(data, error) from error
        listed = [dict(zip(schema.names, row, strict=True)) for row in more]
        out.write_table(pa.Table.from_pylist(listed, schema=schema))


def refuse_other_data(run: Run, now: Mapping[str, Any], found: Path) -> None:
    """Refuse a run that was started on other data or by other code.

    Parameters
    ----------
    run
        A run whose data was checked.
    now
        Digests as in ``run.data``, of today.
    found
        The table ``files`` of today.

    Raises
    ------
    RunError
        If they differ; names what changed, and the first files.
    """
    if changed := changes(read_json(run.data), now):
        which = files_changed(run.files, found) if run.files.is_file() else []
        refuse(run, changed + which)


def model_files(config: Audit, inputs: Mapping[str, str]) -> list[Row]:
    """The files that the model was loaded from; ``inputs`` are the digests of the plan."""
    files: list[Row] = []
    if (checkpoint := config.model.checkpoint) is not None:
        size = checkpoint.stat().st_size if checkpoint.is_file() else None
        files.append(("weights", checkpoint.name, size, inputs["checkpoint"]))
    if factory := inputs.get("factory"):
        files.append(("factory", config.model.architecture, None, factory))
    return files


def _count(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path, part: int, parts: int) -> pa.Table:
    """Kind, path and SHA-256 of one part of the files, and that they are listed."""
    columns = ["kind", "path", "sha256"]
    # A dictionary is no key of a join.
    schema = pa.schema([(name, pa.string()) for name in columns])
    try:
        with pq.ParquetFile(path) as stored:
            batches = [
                _of_part(batch, part, parts).cast(schema)
                for batch in stored.iter_batches(columns=columns)
            ]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    table = pa.concat_tables([schema.empty_table(), *batches])
    return table.append_column("listed", pa.repeat(pa.scalar(True), len(table)))


def _of_part(batch: pa.RecordBatch, part: int, parts: int) -> pa.Table:
    table = pa.Table.from_batches([batch])
    if parts == 1:
        return table
    hashes = hash_array(table["path"].to_numpy(), categorize=False)
    return table.filter(pa.array(hashes % parts == part))


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(f"{path}: not a readable table of files ({str(error).splitlines()[0]})")


def _some(paths: list[str], count: int) -> str:
    names = [f"'{' '.join(path.split())[:_LONGEST]}'" for path in paths]
    rest = count - len(names)
    return " ".join(names) + (f" and {rest:,} more" if rest else "")
