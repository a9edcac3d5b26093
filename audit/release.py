"""Whether a run audited what is about to be released: these weights, these data, and lately."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from audit.config import Data
from audit.data.files import files_of
from audit.errors import RunError
from audit.runs.changes import short_hash
from audit.runs.files import file_digest, read_json
from audit.runs.folder import Run
from audit.runs.record import check_files

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Release:
    """What is about to be released; None where it does not matter.

    Attributes
    ----------
    model
        File of the weights.
    data
        SHA-256 of the audit's data as in its provenance, or the file of the manifest.
    max_age
        Days since the run was finished.
    """

    model: Path | None = None
    data: str | None = None
    max_age: int | None = None


def check_release(run: Run, release: Release, day: date) -> None:
    """Refuse a run that audited something else, that is too old, or that does not tell.

    Where nothing is told of the release, nothing is asked of the run.

    Raises
    ------
    RunError
        Naming both hashes, or the run's age; or that its provenance is missing or altered.
    OSError
        If a file to be released cannot be read.
    """
    if release == Release():
        return
    check_files(run, [run.provenance.name])
    told = read_json(run.provenance)
    hashes = told.get("sha256")
    audited = hashes if isinstance(hashes, dict) else {}
    if release.model is not None:
        _check_same(_weights(run, audited), _named(release.model))
    if release.data is not None:
        if _SHA256.fullmatch(release.data):
            _check_same(audited.get("data"), ("the expected data", release.data.lower()))
        else:
            _check_same(audited.get("manifest"), _named(Path(release.data)))
    if release.max_age is not None:
        _check_age(told.get("finished"), release.max_age, day)


def manifest_digest(data: Data) -> dict[str, str]:
    """SHA-256 of the file that lists the samples, for the provenance; empty where there is none."""
    if data.source != "manifest" or data.root is None:
        return {}
    return {"manifest": file_digest(files_of(data.root).table(data.manifest, "data.manifest"))}


def _weights(run: Run, hashes: Mapping[str, Any]) -> object:
    """SHA-256 of the file of weights that was audited: trained by the run, or loaded."""
    if run.config().model.trains:
        trained = (run.model / "model.safetensors").relative_to(run.folder).as_posix()
        return read_json(run.record, "files")["files"].get(trained)
    return hashes.get("checkpoint")


def _named(file: Path) -> tuple[str, str]:
    return file.name, file_digest(file)


def _check_same(audited: object, released: tuple[str, str]) -> None:
    name, digest = released
    if not isinstance(audited, str):
        raise RunError(
            f"the run does not tell the SHA-256 of what it audited, so {name} "
            f"({short_hash(digest)}...) cannot be held against it; run the audit again"
        )
    if digest != audited:
        raise RunError(
            f"{name} has the SHA-256 {short_hash(digest)}..., but what was audited has "
            f"{short_hash(audited)}...; audit what is to be released"
        )


def _check_age(finished: object, allowed: int, day: date) -> None:
    try:
        then = datetime.fromisoformat(str(finished))
    except ValueError as error:
        raise RunError("the provenance does not tell when the run was finished") from error
    if then.tzinfo is None:
        raise RunError("the provenance tells no time zone, so the run's age is not known")
    age = (day - then.astimezone(UTC).date()).days
    if age < 0:
        raise RunError(f"the run was finished on a day to come, {then:%Y-%m-%d}")
    if age > allowed:
        raise RunError(
            f"the run is {age} days old (finished on {then:%Y-%m-%d}), and {allowed} are allowed; "
            "run the audit again"
        )
