"""A run: one audit, as a folder that holds everything needed to review and re-judge it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from audit.atomic import NO_ROOM, replacing_folder
from audit.config import WHERE_COMPUTED, Audit
from audit.config_file import dump_config, load_config
from audit.errors import RunError
from audit.runs.files import digest_of, read_json, write_json, write_text

PATIENCE = 0.5  # seconds: who only asks whether a run is worked on holds its lock for a moment


@dataclass(frozen=True)
class Run:
    """Paths of a run folder."""

    folder: Path

    @property
    def config_file(self) -> Path:
        """The configuration as resolved."""
        return self.folder / "config.yaml"

    @property
    def identity(self) -> Path:
        """Digest of the configuration and time of the start."""
        return self.folder / "run.json"

    @property
    def provenance(self) -> Path:
        """Versions, device, seeds, hashes, times."""
        return self.folder / "provenance.json"

    @property
    def checked(self) -> Path:
        """Samples after the data check, before the model has seen them."""
        return self.folder / "stages" / "checked.parquet"

    @property
    def data(self) -> Path:
        """Digests of the data that were checked and of the code that did it."""
        return self.folder / "stages" / "data.json"

    @property
    def files(self) -> Path:
        """The files of the data that was checked, each with its digest."""
        return self.folder / "stages" / "files.parquet"

    @property
    def plan(self) -> Path:
        """What will be computed: layer, test per region, digests."""
        return self.folder / "stages" / "plan.json"

    @property
    def examined(self) -> Path:
        """Digests of what the check of the explainer wrote, once it is done."""
        return self.folder / "stages" / "examined.json"

    @property
    def discovered(self) -> Path:
        """Digests of what discovery wrote, once it is done."""
        return self.folder / "stages" / "discovered.json"

    @property
    def stale(self) -> Path:
        """What changed since the run was started; it is not resumed unless it is named."""
        return self.folder / "stages" / "stale"

    @property
    def flow_run(self) -> Path:
        """Which run of a Prefect deployment works on it, where one does."""
        return self.folder / "stages" / "flow_run"

    @property
    def model(self) -> Path:
        """Folder of the weights trained by this run and their card."""
        return self.folder / "model"

    @property
    def shards(self) -> Path:
        """Folder of the shards, one folder per digest."""
        return self.folder / "shards"

    @property
    def pictures(self) -> Path:
        """Folder of the samples that the report shows."""
        return self.folder / "pictures"

    @property
    def findings(self) -> Path:
        """Findings as JSON."""
        return self.folder / "findings.json"

    @property
    def waivers(self) -> Path:
        """Copy of the waivers that the policy names."""
        return self.folder / "waivers.yaml"

    @property
    def verdict(self) -> Path:
        """The verdict as JSON."""
        return self.folder / "verdict.json"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    @property
    def record(self) -> Path:
        """SHA-256 of every other file; written last: a run with a record is finished."""
        return self.folder / "record.json"

    @property
    def signature(self) -> Path:
        """Signature of the record, where somebody signed it."""
        return self.folder / "record.sig"

    @property
    def signoff(self) -> Path:
        """Decisions of people on the run, where there are any."""
        return self.folder / "signoff.json"

    @property
    def requirements(self) -> Path:
        """Every installed distribution with its version, for pip."""
        return self.folder / "requirements.txt"

    def table(self, name: str) -> Path:
        """A stored table."""
        return self.folder / f"{name}.parquet"

    @property
    def lock(self) -> Path:
        """Held by the process that works on the run."""
        return self.folder / ".lock"

    @property
    def log(self) -> Path:
        """Events, a JSON object a line: those of every start, so no part of the record."""
        return self.folder / "log.jsonl"

    @property
    def finished(self) -> bool:
        """Whether the run has been sealed."""
        return self.record.is_file()

    def config(self) -> Audit:
        """The configuration of the run."""
        if not self.config_file.is_file():
            raise RunError(f"{self.folder}: no run folder (config.yaml is missing)")
        return load_config(self.config_file, sealed=True)

    def unaltered_config(self) -> Audit:
        """The configuration that the run was started with.

        Raises
        ------
        RunError
            If the file was changed since.
        """
        config = self.config()
        if read_json(self.identity, "config_digest")["config_digest"] != config_digest(config):
            raise RunError(f"{self.config_file}: changed since the run was started; start it anew")
        return config


def start_or_resume(config: Audit, out: Path | None = None) -> Run:
    """The folder to work in: ``out``, or the newest unfinished run of this configuration, or new.

    Raises
    ------
    RunError
        If ``out`` holds another audit or other files, or cannot be made.
    """
    digest = config_digest(config)
    if out is None:
        parent = parent_of_runs(config)
        out = _unfinished(parent, digest) or _new(parent, digest)
    run = Run(out.resolve())
    if not run.identity.is_file():
        if run.folder.is_dir() and any(run.folder.iterdir()):
            raise RunError(f"{out}: not empty and no run folder; choose another folder")
        _create(run, config, digest)
    if read_json(run.identity, "config_digest")["config_digest"] != digest:
        raise RunError(f"{out}: holds a run of another configuration; choose another folder")
    return run


def parent_of_runs(config: Audit) -> Path:
    """The folder in which the runs of an audit lie."""
    return (config.output.folder or Path("runs")) / config.name


def runs_of(config: Audit) -> list[Run]:
    """Every run that was started of a configuration, the oldest first."""
    return _started(parent_of_runs(config), config_digest(config))


@contextmanager
def working_on(run: Run) -> Iterator[None]:
    """Keep other processes off a run, and clear what a killed one left half-written.

    Raises
    ------
    RunError
        If another process works on it.
    """
    try:
        with FileLock(run.lock, timeout=PATIENCE):
            remove_leftovers(run)
            yield
    except Timeout as error:
        raise RunError(f"{run.folder}: another process works on this run; wait for it") from error


def leftovers(run: Run) -> list[Path]:
    """What processes that were killed left half-written; links are not followed."""
    return sorted(run.folder.rglob(".*.tmp"))


def remove_leftovers(run: Run) -> None:
    """Remove what processes that were killed left half-written."""
    for leftover in leftovers(run):
        remove_path(leftover)


def remove_path(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _create(run: Run, config: Audit, digest: str) -> None:
    """Make the folder with its configuration and identity, as a whole, unless it is there now."""
    started = datetime.now(UTC).isoformat()
    try:
        with replacing_folder(run.folder, keep=lambda there: True) as folder:
            draft = Run(folder)
            draft.checked.parent.mkdir()
            write_text(draft.config_file, dump_config(config))
            write_json(draft.identity, {"config_digest": digest, "started": started})
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise RunError(f"{run.folder}: cannot be made ({error.strerror})") from error


def config_digest(config: Audit) -> str:
    """SHA-256 of a configuration, less where its runs are put and computed."""
    elsewhere = {"output": {"folder"}, "execution": WHERE_COMPUTED}
    return digest_of(config.model_dump(mode="json", exclude=elsewhere))


def _unfinished(parent: Path, digest: str) -> Path | None:
    newest_first = reversed(_started(parent, digest))
    open_ones = (run.folder for run in newest_first if not (run.finished or run.stale.is_file()))
    return next(open_ones, None)


def _started(parent: Path, digest: str) -> list[Run]:
    return [Run(path) for path in sorted(parent.glob(f"*-{digest[:8]}"))]


def _new(parent: Path, digest: str) -> Path:
    """A folder named by the time, in whole seconds; a later one where that second is taken."""
    start = datetime.now(UTC)
    while (folder := parent / f"{start:%Y%m%dT%H%M%S}-{digest[:8]}").exists():
        start += timedelta(seconds=1)
    return folder
