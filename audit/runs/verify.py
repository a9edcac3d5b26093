"""Whether a run is as it was sealed, and what can be said of the runs before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from audit.errors import CuecheckError, RunError
from audit.runs.chain import REBUILT, earlier_runs, record_digest
from audit.runs.files import read_json
from audit.runs.folder import Run
from audit.runs.record import check_record, digests

_SHOWN = 3  # names in a sentence


@dataclass
class Verification:
    """What was found, in sentences.

    Attributes
    ----------
    right
        What was checked and is as it should be.
    notes
        What was not checked, or is to be known.
    faults
        What is wrong; without any, the run is as it was sealed.
    """

    right: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def verify_run(
    run: Run, day: date, *, public_key: Path | None = None, whole_chain: bool = False
) -> Verification:
    """Check the record of a run, its signature, and the chain as far back as there are runs.

    Parameters
    ----------
    run
        The run.
    day
        Today, for the date up to which it is to be kept.
    public_key
        Whose signature the record must have; None: a signature is not looked at.
    whole_chain
        Whether an earlier run that is not there is a fault.

    Raises
    ------
    RunError
        If the folder is no finished run.
    """
    found = Verification()
    try:
        check_record(run)
        _tell_files(run, found)
    except RunError as error:
        if not run.finished:
            raise
        found.faults.append(str(error))
    _look_at_signature(run, public_key, found)
    try:
        _follow_chain(run, found, missing=found.faults if whole_chain else found.notes)
        found.notes.append(f"keep until: {_keeping(run, day)}")
    except CuecheckError as error:
        found.faults.append(str(error))
    return found


def _tell_files(run: Run, found: Verification) -> None:
    record = read_json(run.record, "files")
    recorded = record["files"]
    absent = [name for name in recorded if not (run.folder / name).is_file()]
    added = sorted(digests(run).keys() - recorded.keys())
    found.right.append(f"record: {len(recorded) - len(absent)} files are as sealed")
    if record.get("rebuilt"):
        found.notes.append(f"record: {REBUILT} was built again since")
    if run.log.is_file():
        found.notes.append(f"record: {run.log.name} is not in it: every start adds to it")
    if absent:
        found.notes.append(f"record: left behind, as when a run is copied: {_some(absent)}")
    if added:
        found.notes.append(f"record: nobody answers for what is not in it: {_some(added)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _look_at_signature(run: Run, public_key: Path | None, found: Verification) -> None:
    if public_key is None:
        there = "not looked at without --public-key" if run.signature.is_file() else "none"
        found.notes.append(f"signature: {there}")
        return
    try:
        from audit.runs.signature import check_signature  # noqa: PLC0415 - needs an extra

        check_signature(run, public_key)
        found.right.append(f"signature: by the key {public_key}")
    except (CuecheckError, OSError) as error:
        found.faults.append(f"signature: {error}")


def _follow_chain(run: Run, found: Verification, missing: list[str]) -> None:
    links = 0
    for later, link, earlier in earlier_runs(run):
        links += 1
        named = f"chain: {link.run}, which {later.folder.name} names,"
        if not earlier.finished:
            missing.append(f"{named} is missing; earlier runs cannot be checked")
        elif record_digest(earlier) != link.sha256:
            found.faults.append(f"{named} has another record than was named: it was altered")
        else:
            try:
                check_record(earlier)
                found.right.append(f"{named} is as sealed")
            except RunError as error:
                found.faults.append(f"{named} was altered: {error}")
    if not links:
        found.notes.append("chain: begins with this run, which names no earlier one")


def _keeping(run: Run, day: date) -> str:
    kept = read_json(run.record, "files").get("keep_until")
    if kept is None:
        return "no date is set (output.retention_days)"
    try:
        last = date.fromisoformat(kept)
    except (TypeError, ValueError) as error:
        raise RunError(f"{run.record}: 'keep_until' is no date; run the audit again") from error
    left = (last - day).days
    return f"{last} ({f'{left} days on' if left >= 0 else 'it is past'})"
