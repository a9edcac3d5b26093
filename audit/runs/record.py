"""The record: SHA-256 of every file of a run, and the run before; written last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from audit.errors import RunError
from audit.runs.chain import REBUILT, newest_link
from audit.runs.files import file_digest, read_json, write_json
from audit.runs.folder import Run

# Without these nobody can tell what was decided; others may be left behind when a run is copied.
NEEDED = ("verdict.json", "findings.json", "evidence.parquet", "config.yaml")


def seal(run: Run) -> None:
    """Write the record of a finished run; shards and stages are left out, their sum is in it.

    It names the record of the same audit that was sealed before, in a folder beside this one.
    """
    facts = read_json(run.provenance) if run.provenance.is_file() else {}
    previous = newest_link(run, facts.get("audit"))
    write_json(
        run.record,
        {
            "audit": facts.get("audit"),
            "sealed": datetime.now(UTC).isoformat(timespec="microseconds"),
            "keep_until": facts.get("keep_until"),
            "previous": asdict(previous) if previous else None,
            "files": digests(run),
        },
    )


@contextmanager
def rebuilding_report(run: Run) -> Iterator[None]:
    """Replace the report of a run; if the run is sealed, nothing else may have been altered.

    The record keeps the hash that the report was sealed with; a signature no longer holds.

    Raises
    ------
    RunError
        If :func:`check_record` refuses the run for another file than the report.
    """
    if not run.finished:
        yield
        return
    check_record(run, besides=REBUILT)
    yield
    record, digest = read_json(run.record, "files"), file_digest(run.report)
    before = {REBUILT: record["files"].get(REBUILT)}
    if digest != before[REBUILT]:
        files = record["files"] | {REBUILT: digest}
        write_json(run.record, {**record, "files": files, "rebuilt": record.get("rebuilt", before)})


def digests(run: Run) -> dict[str, str]:
    """Relative path to SHA-256 of every file that the record covers."""
    working = {run.shards, run.checked.parent}
    besides = (run.record, run.signature, run.signoff, run.lock, run.log)
    files = sorted(
        path
        for path in run.folder.rglob("*")
        if path.is_file() and path not in besides and not working & set(path.parents)
    )
    return {path.relative_to(run.folder).as_posix(): file_digest(path) for path in files}


def is_recorded(run: Run, name: str) -> bool:
    """Whether a file belongs to a finished run."""
    return name in _recorded(run)


def check_record(run: Run, besides: str | None = None, needed: Sequence[str] = NEEDED) -> None:
    """Refuse a run that is unfinished or was altered in any file of its record.

    Files that were left behind when the run was copied (pictures, weights, tables) are no
    alteration, unless the verdict cannot be told without them (:data:`NEEDED`).

    Parameters
    ----------
    run
        The run.
    besides
        A file that may differ.
    needed
        Files that must be there.

    Raises
    ------
    RunError
        Naming the first file that is missing or altered.
    """
    if not run.folder.is_dir():
        raise RunError(f"{run.folder}: no such run folder")
    if not run.finished:
        raise RunError(
            f"{run.folder}: not a finished run (record.json is missing); {_what_to_do(run.folder)}"
        )
    recorded = _recorded(run)
    _check_there(run, recorded, needed)
    for name in recorded:
        if name != besides:
            _check_unaltered(run, recorded, name)


def check_files(run: Run, names: Sequence[str]) -> None:
    """Refuse a finished run that lacks one of these files or in which one was altered.

    The rest of the run is not looked at.

    Raises
    ------
    RunError
        Naming the first file that is missing or altered.
    """
    recorded = _recorded(run)
    _check_there(run, recorded, names)
    for name in names:
        _check_unaltered(run, recorded, name)


def _what_to_do(folder: Path) -> str:
    """Name the run inside of a folder of runs, the likeliest mistake."""
    inside = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/record.json")]
    newest = max(inside, key=lambda run: run.name, default=None)
    return "run it again" if newest is None else f"did you mean {newest}?"


def _check_there(run: Run, recorded: dict[str, Any], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in recorded or not (run.folder / name).is_file():
            raise RunError(f"{run.folder / name}: missing from the run; run the audit again")


def _check_unaltered(run: Run, recorded: dict[str, Any], name: str) -> None:
    path = run.folder / name
    if path.is_file() and file_digest(path) != recorded[name]:
        cure = f"`cuecheck report {run.folder}`" if name == REBUILT else "run the audit again"
        raise RunError(f"{path}: altered after the run was sealed; {cure}")


def _recorded(run: Run) -> dict[str, Any]:
    files = read_json(run.record, "files")["files"]
    if not isinstance(files, dict):
        raise RunError(f"{run.record}: must be a JSON object with the key 'files' for an object")
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise RunError(f"{run.record}: names a file outside the run: {name!r}")
    return files
