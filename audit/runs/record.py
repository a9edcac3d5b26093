"""The record: SHA-256 of every file of a run, written last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from audit.errors import RunError
from audit.runs.files import file_digest, read_json, write_json
from audit.runs.folder import Run


def seal(run: Run) -> None:
    """Write the record of a finished run; shards and stages are left out, their sum is in it."""
    write_json(run.record, {"files": digests(run)})


@contextmanager
def reseal(run: Run, name: str) -> Iterator[None]:
    """Replace one file of a run; if the run is sealed, nothing else may have been altered.

    Raises
    ------
    RunError
        If another file of a sealed run differs from the record. Files that were left behind when
        the run was copied are no alteration.
    """
    if not run.finished:
        yield
        return
    recorded = read_json(run.record)
    present = [file for file in recorded["files"] if (run.folder / file).is_file()]
    check_record(run, [file for file in present if file != name])
    yield
    recorded["files"][name] = file_digest(run.folder / name)
    write_json(run.record, recorded)


def digests(run: Run) -> dict[str, str]:
    """Relative path to SHA-256 of every file that the record covers."""
    working = {run.shards, run.checked.parent}
    files = sorted(
        path
        for path in run.folder.rglob("*")
        if path.is_file() and path not in (run.record, run.lock) and not working & set(path.parents)
    )
    return {path.relative_to(run.folder).as_posix(): file_digest(path) for path in files}


def check_record(run: Run, needed: list[str]) -> None:
    """Refuse a run that is unfinished or altered in one of the named files.

    Raises
    ------
    RunError
        Naming the first file that is missing from the record, missing, or altered.
    """
    if not run.finished:
        raise RunError(f"{run.folder}: not a finished run (record.json is missing); run it again")
    recorded = read_json(run.record).get("files", {})
    for name in needed:
        path = run.folder / name
        if name not in recorded or not path.is_file():
            raise RunError(f"{path}: missing from the run; run the audit again")
        if file_digest(path) != recorded[name]:
            raise RunError(f"{path}: altered after the run was sealed; run the audit again")
