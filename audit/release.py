"""Whether a run audited what is about to be released: these weights, these data, and lately."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

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
        _check_same("weights_file", audited, _named(release.model))
    if release.data is not None:
        if _SHA256.fullmatch(release.data):
            _check_same("data", audited, ("the expected data", release.data.lower()))
        else:
            _check_same("manifest", audited, _named(Path(release.data)))
    if release.max_age is not None:
        _check_age(told.get("finished"), release.max_age, day)


def _named(file: Path) -> tuple[str, str]:
    return file.name, file_digest(file)


def _check_same(what: str, audited: Mapping[str, Any], released: tuple[str, str]) -> None:
    name, digest = released
    known = audited.get(what)
    if not isinstance(known, str):
        raise RunError(
            f"the provenance does not tell the SHA-256 of what was audited (sha256.{what}), so "
            f"{name} ({short_hash(digest)}) cannot be held against it; run the audit again"
        )
    if digest != known:
        raise RunError(
            f"{name} has the SHA-256 {short_hash(digest)}..., but what was audited has "
            f"{short_hash(known)}... (sha256.{what}); audit what is to be released"
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
