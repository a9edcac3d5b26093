"""How far a run is, whether somebody works on it, and what to do next; nothing is altered."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from audit.config import Audit
from audit.data.reasons import kind_of
from audit.errors import CuecheckError, RunError
from audit.runs.files import read_json
from audit.runs.folder import Run
from audit.runs.record import NEEDED, check_files, check_record
from audit.runs.shards import DIGESTS
from audit.tables import QUARANTINED, SAMPLES, read_table

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NEXT_STEP = {
    "finished": "`cuecheck gate {run}`",
    "running": "wait",
    "interrupted": "the command that started it goes on where it stopped",
    "given up": "start the audit anew; `cuecheck clean {run} --stale` removes this",
    "altered": "run the audit again, in another folder",
    "unreadable": "run the audit again, in another folder",
}


@dataclass(frozen=True)
class Progress:
    """How far a run is, told from which files are there.

    Attributes
    ----------
    stage
        What is done now, or next; None where all is done.
    shards_done, shards
        Shards that are there, and in all: None before the plan. They are not read.
    begun
        Whether any stage is done.
    """

    stage: str | None
    shards_done: int
    shards: int | None
    begun: bool


@dataclass(frozen=True)
class Status:
    """A run in short.

    Attributes
    ----------
    folder, audit
        Where it lies, and the name of its audit.
    state
        One of :data:`NEXT_STEP`.
    why
        It is given up, altered or unreadable; else None.
    stage, shards_done, shards
        As in :class:`Progress`.
    usable, quarantined, kinds
        Samples, and the kinds of fault of the quarantined ones, the most frequent first; None
        before they were checked.
    verdict
        As sealed.
    bytes
        Of all files.
    started, written
        Times (ISO 8601, UTC) of the start and of the last change of a file.
    todo
        What to do next.
    """

    folder: str
    state: str
    audit: str | None = None
    why: str | None = None
    stage: str | None = None
    shards_done: int = 0
    shards: int | None = None
    usable: int | None = None
    quarantined: int | None = None
    kinds: dict[str, int] = field(default_factory=dict)
    verdict: str | None = None
    bytes: int = 0
    started: str | None = None
    written: str | None = None
    todo: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a JSON-like object."""
        return asdict(self)


def is_worked_on(run: Run) -> bool:
    """Whether a process holds the lock of a run; one that starts at this moment is not kept off."""
    if not run.lock.is_file():
        return False
    if fcntl is None:
        try:
            with FileLock(run.lock, timeout=0):
                return False
        except Timeout:
            return True
    handle = os.open(run.lock, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def progress_of(run: Run, config: Audit) -> Progress:
    """How far a run of a configuration is.

    Raises
    ------
    RunError
        If its plan cannot be read.
    """
    total, done = None, 0
    if run.plan.is_file():
        plan = read_json(run.plan, "digest", "shards")
        total, folder = int(plan["shards"]), run.shards / str(plan["digest"])[:16]
        done = min(total, sum(1 for _ in folder.glob(f"[0-9]*/{DIGESTS}")))
    missing = (name for name, there in _stages(run, config, done == total) if not there)
    stage = None if run.finished else next(missing, "seal")
    return Progress(stage, done, total, run.checked.is_file())


def _stages(run: Run, config: Audit, measured: bool) -> Iterator[tuple[str, bool]]:
    """The stages in their order, and whether what each leaves behind is there."""
    yield "check data", run.checked.is_file()
    yield "train", not config.model.trains or (run.model / "card.json").is_file()
    yield "plan", run.plan.is_file()
    yield "explain and intervene", measured
    yield "merge", run.table("samples").is_file()
    yield "check the explainer", run.examined.is_file()
    yield "look for cues", not config.discovery.enabled or run.discovered.is_file()
    yield "judge", run.verdict.is_file()
    yield "draw pictures", run.pictures.is_dir()
    yield "report", run.provenance.is_file() and run.report.is_file()


def status_of(run: Run, *, quick: bool = False) -> Status:
    """A run in short.

    Parameters
    ----------
    run
        Its folder.
    quick
        Hash only the files that a verdict needs, not all of a finished run's.

    Raises
    ------
    RunError
        If the folder holds no run.
    """
    if not (run.identity.is_file() or run.finished):
        raise RunError(f"{run.folder}: no run folder, nor does one lie below it")
    size, changed = _size_and_change(run.folder)
    known: dict[str, Any] = {"bytes": size, "written": changed.isoformat(timespec="seconds")}
    state, why = "unreadable", None
    with suppress(CuecheckError, OSError, ValueError):
        known["started"] = str(read_json(run.identity, "started")["started"])
    try:
        state, why = _state(run, quick)
        config = run.config()
        known["audit"] = config.name
        progress = progress_of(run, config)
        known |= {"stage": progress.stage, "shards": progress.shards}
        known |= {"shards_done": progress.shards_done, **_samples(run)}
        if run.finished:
            known["verdict"] = str(read_json(run.verdict, "verdict")["verdict"])
    except (CuecheckError, OSError, ValueError) as error:
        state, why = ("unreadable", str(error)) if state != "altered" else (state, why)
    todo = NEXT_STEP[state].format(run=run.folder)
    return Status(folder=str(run.folder), state=state, why=why, todo=todo, **known)


def _state(run: Run, quick: bool) -> tuple[str, str | None]:
    """The state, and why it is a bad one."""
    if run.finished:
        try:
            check_files(run, NEEDED) if quick else check_record(run)
        except RunError as error:
            return "altered", str(error)
        return "finished", None
    if is_worked_on(run):
        return "running", None
    if run.stale.is_file():
        changed = run.stale.read_text(encoding="utf-8").split("\n")
        return "given up", f"changed since it was started: {', '.join(filter(None, changed))}"
    try:
        run.unaltered_config()
    except RunError as error:
        return "altered", str(error)
    return "interrupted", None


def _samples(run: Run) -> dict[str, Any]:
    """How many samples there are of which status."""
    tables = (path for path in (run.table("samples"), run.checked) if path.is_file())
    if (path := next(tables, None)) is None:
        return {}
    samples = read_table(path, SAMPLES, ["status", "reason"])
    bad = samples["status"] == QUARANTINED
    kinds = Counter(kind_of(str(reason)) for reason in samples.loc[bad, "reason"])
    return {
        "usable": int((~bad).sum()),
        "quarantined": int(bad.sum()),
        "kinds": dict(kinds.most_common()),
    }


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count as themselves."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return _size_and_change(path)[0]


def _size_and_change(folder: Path) -> tuple[int, datetime]:
    """Bytes of all files below a folder, and when one was written last; locks do not count."""
    size, newest = 0, folder.lstat().st_mtime
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):  # removed meanwhile: a run may be worked on
                found = (Path(where) / name).lstat()
                size += found.st_size
                newest = max(newest, 0.0 if name == ".lock" else found.st_mtime)
    return size, datetime.fromtimestamp(newest, UTC)
