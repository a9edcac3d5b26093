"""What of run folders can be deleted without loss, and deleting it.

Only run folders and what killed processes left are touched; no link is followed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from audit.atomic import remove_folder
from audit.errors import CuecheckError, RunError
from audit.runs.chain import previous_link
from audit.runs.files import read_json
from audit.runs.folder import PATIENCE, Run, leftovers, remove_path
from audit.runs.record import check_record
from audit.runs.status import is_worked_on, size_of
from audit.tables import ATTENTION, INTERVENTIONS, MAPS, SAMPLES, TABLES

_MERGED = [f"{table.name}.parquet" for table in (SAMPLES, ATTENTION, INTERVENTIONS, MAPS)]
_DRAFT = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_DRAFT_SECONDS = 3600.0  # a draft of a run, or one that is being removed, is younger


@dataclass(frozen=True)
class Choice:
    """Which whole runs may go.

    Attributes
    ----------
    day
        Today.
    stale
        Unfinished ones that were given up, since their data, code or settings changed.
    expired
        Finished ones that were to be kept up to a day before today.
    linked
        Of the expired ones also those that the record of a run that stays names as the one before.
    """

    day: date
    stale: bool = False
    expired: bool = False
    linked: bool = False


@dataclass(frozen=True)
class Waste:
    """A file or folder that can go, its bytes, and why."""

    path: Path
    bytes: int
    why: str


@dataclass
class Cleaning:
    """What can go or went, and what stays although it was asked for, in sentences."""

    waste: list[Waste] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all that can go."""
        return sum(one.bytes for one in self.waste)


def clean(runs: Iterable[Run], choice: Choice, *, delete: bool) -> Cleaning:
    """Find what can go, and delete it if told to, each run under its lock.

    Of every run that stays: what killed processes left half-written; and the shards, if it is
    finished and unaltered, since its tables hold the same.

    Parameters
    ----------
    runs
        Folders that may be runs.
    choice
        Which whole runs may go too.
    delete
        Whether to delete what is found.
    """
    found = Cleaning()
    there = [run for run in runs if _is_run(run, found)]
    parents = sorted({run.folder.resolve().parent for run in there})
    going = _expired(there, choice, found) if choice.expired else []
    for run in there:
        whole = None
        if run in going:
            whole = f"a run that was to be kept up to {_kept_until(run)}"
        elif choice.stale and run.stale.is_file() and not run.finished:
            whole = "an unfinished run that was given up"
        try:
            _clean_run(run, whole, found, delete)
        except Timeout:
            found.kept.append(f"{run.folder}: a process works on it")
    for folder in parents:
        _clean_beside(folder, found, delete)
    return found


def _is_run(run: Run, found: Cleaning) -> bool:
    """Whether a folder is a run and can be cleaned now."""
    if run.folder.is_symlink() or not run.folder.is_dir():
        found.kept.append(f"{run.folder}: no folder; links are not followed")
    elif not (run.identity.is_file() and run.config_file.is_file()):
        found.kept.append(f"{run.folder}: no run folder (run.json or config.yaml is missing)")
    elif is_worked_on(run):
        found.kept.append(f"{run.folder}: a process works on it")
    else:
        return True
    return False


def _clean_run(run: Run, whole: str | None, found: Cleaning, delete: bool) -> None:
    with FileLock(run.lock, timeout=PATIENCE) if delete else nullcontext():
        if whole and (strangers := _strangers(run)):
            found.kept.append(f"{run.folder}: holds what is not the run's: {', '.join(strangers)}")
            whole = None
        waste = [_waste(run.folder, whole)] if whole else list(_parts(run, found))
        found.waste += waste
        if not delete:
            return
        for one in waste:
            # A folder goes first in name and then in fact, so that none is read by halves. It is
            # no link, and '.' has no name.
            folder = one.path.resolve() if whole else one.path
            remove_folder(folder) if one.path == run.shards or whole else remove_path(one.path)


def _parts(run: Run, found: Cleaning) -> Iterator[Waste]:
    """What can go of a run that stays."""
    going = [run.shards] if _shards_can_go(run, found) else []
    for path in going:
        yield _waste(path, "shards of a finished run; its tables hold the same")
    for path in leftovers(run):
        if not set(going) & set(path.parents):
            yield _waste(path, "half-written by a process that was killed")
            going.append(path)


def _shards_can_go(run: Run, found: Cleaning) -> bool:
    if not (run.finished and run.shards.exists()):
        return False
    if run.shards.is_symlink():
        found.kept.append(f"{run.shards}: a link, which is not followed")
        return False
    try:
        check_record(run, needed=_MERGED)
    except RunError as error:
        found.kept.append(f"{run.shards}: the tables may not hold the same: {error}")
        return False
    return True


def _waste(path: Path, why: str) -> Waste:
    return Waste(path, size_of(path), why)


def _strangers(run: Run) -> list[str]:
    """What lies in a run folder and is neither of the run nor in its record."""
    own = {path.name for path in _own_paths(run)} | {f"{name}.parquet" for name in TABLES}
    own |= {"summary.md", "junit.xml", "findings.sarif", "cues"}
    if run.finished:
        own |= {name.split("/")[0] for name in read_json(run.record, "files")["files"]}
    names = {path.name for path in run.folder.iterdir()} - own
    names -= {path.name for path in leftovers(run)}
    nested = [path.parent for path in run.folder.glob("*/**/run.json")]
    return sorted(names | {path.relative_to(run.folder).as_posix() for path in nested})


def _own_paths(run: Run) -> list[Path]:
    working = [run.config_file, run.identity, run.provenance, run.checked.parent, run.model]
    working += [
        run.shards,
        run.pictures,
        run.lock,
        run.log,
        run.signoff,
        run.requirements,
        run.waivers,
    ]
    return [*working, run.findings, run.verdict, run.report, run.record, run.signature]


def _expired(runs: Sequence[Run], choice: Choice, found: Cleaning) -> list[Run]:
    """Runs past their day that no record of a run that stays names; the newest are seen first."""
    sealed = [(run, facts) for run in runs if (facts := _sealed(run, found)) is not None]
    sealed.sort(key=lambda one: str(one[1].get("sealed")), reverse=True)
    going: list[Run] = []
    for run, _ in sealed:
        until = _kept_until(run)
        if until is None or until >= choice.day:
            continue
        namer = _named_by(run, going)
        if namer is not None and not choice.linked:
            found.kept.append(
                f"{run.folder}: the record of {namer} names it as the run before; --linked "
                "deletes it all the same"
            )
            continue
        going.append(run)
    return going


def _sealed(run: Run, found: Cleaning) -> dict[str, Any] | None:
    """The record of a finished and unaltered run; another is kept, as evidence."""
    if not run.finished:
        return None
    try:
        check_record(run)
        _kept_until(run)
        return read_json(run.record, "files")
    except (CuecheckError, OSError) as error:
        found.kept.append(f"{run.folder}: kept, whatever its day: {error}")
        return None


def _kept_until(run: Run) -> date | None:
    told = read_json(run.record, "files").get("keep_until")
    try:
        return None if told is None else date.fromisoformat(told)
    except (TypeError, ValueError) as error:
        raise RunError(f"{run.record}: 'keep_until' is no date") from error


def _named_by(run: Run, going: Sequence[Run]) -> str | None:
    """Name of a run beside this one that stays and whose record names it as the one before."""
    for record in sorted(run.folder.resolve().parent.glob("*/record.json")):
        other = Run(record.parent)
        if any(other.folder == one.folder.resolve() for one in going):
            continue
        try:
            link = previous_link(other)
        except RunError:
            continue
        if link is not None and link.run == run.folder.resolve().name:
            return other.folder.name
    return None


def _clean_beside(folder: Path, found: Cleaning, delete: bool) -> None:
    """Drafts of runs, and runs that were being removed, of processes that were killed."""
    for path in sorted(folder.iterdir()):
        if not _DRAFT.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        if time.time() - path.lstat().st_mtime < _DRAFT_SECONDS:
            continue
        found.waste.append(_waste(path, "half-written by a process that was killed"))
        if delete:
            remove_path(path)
