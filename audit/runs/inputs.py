"""The table of a run's input files: what differs between two, and the files of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.atomic import replacing
from audit.config import Audit
from audit.errors import RunError
from audit.runs.changes import changes, refuse
from audit.runs.files import read_json
from audit.runs.folder import Run
from audit.tables import FILES

_NAMED = 3  # files per kind of change in a message
_LONGEST = 120  # characters of a name

Row = tuple[str, str, int | None, str]  # kind, path, bytes, SHA-256


def files_changed(before: Path, now: Path) -> list[str]:
    """Which files differ between two tables ``files``: changed, missing and new ones.

    One phrase for each, with their number and the names of the first few. A file that was missing
    or unreadable all the time is no change. Both tables are in memory at once, as Arrow.

    Raises
    ------
    RunError
        If one is no such table.
    """
    keys = ["kind", "path"]
    both = _read(before).join(_read(now), keys, join_type="full outer", right_suffix=" now")
    both = both.sort_by([(key, "ascending") for key in keys])
    was, listed = (pc.is_valid(both[f"listed{suffix}"]) for suffix in ("", " now"))
    had, has = (pc.is_valid(both[f"sha256{suffix}"]) for suffix in ("", " now"))
    differ = pc.fill_null(pc.not_equal(both["sha256"], both["sha256 now"]), False)
    groups = {
        "changed": differ,
        "missing": pc.and_(had, pc.and_not(listed, has)),
        "no longer listed": pc.and_not(was, listed),
        "new": pc.and_not(has, had),
    }
    return [
        f"{what}: {_some(both['path'].filter(chosen))}"
        for what, chosen in groups.items()
        if pc.any(chosen).as_py()
    ]


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


def _read(path: Path) -> pa.Table:
    """Kind, path and SHA-256, and that they are listed."""
    try:
        table = pq.read_table(path, columns=["kind", "path", "sha256"])
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    # A dictionary is no key of a join.
    table = table.set_column(0, "kind", table["kind"].cast(pa.string()))
    return table.append_column("listed", pa.repeat(pa.scalar(True), len(table)))


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(f"{path}: not a readable table of files ({str(error).splitlines()[0]})")


def _some(paths: pa.ChunkedArray) -> str:
    names = [f"'{' '.join(path.split())[:_LONGEST]}'" for path in paths[:_NAMED].to_pylist()]
    rest = len(paths) - len(names)
    return " ".join(names) + (f" and {rest:,} more" if rest else "")
