"""Records chained from run to run: each names the one that was sealed before it.

A link is the SHA-256 of ``record.json`` as first sealed. What may be built again (the report) is
looked at as it was then, so that building it does not break the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from audit.errors import RunError
from audit.runs.files import file_digest, json_text, read_json
from audit.runs.folder import Run

REBUILT = "report.html"  # derived from the rest, so it may be built again


@dataclass(frozen=True)
class Link:
    """What a record says of the run before.

    Attributes
    ----------
    run
        Name of its folder, beside this one.
    sha256
        Of its record, as first sealed.
    """

    run: str
    sha256: str


def newest_link(run: Run, audit: str | None) -> Link | None:
    """The link to the run of an audit that was sealed last, among the folders beside this one.

    A folder whose record cannot be read is passed over.
    """
    sealed: list[tuple[str, str, Run]] = []
    for record in run.folder.resolve().parent.glob("*/record.json"):
        other = Run(record.parent)
        try:
            found = read_json(record, "files", "audit", "sealed")
        except RunError:
            continue
        if audit is not None and found["audit"] == audit and other.folder != run.folder.resolve():
            sealed.append((str(found["sealed"]), other.folder.name, other))
    if not sealed:
        return None
    newest = max(sealed)[-1]
    return Link(newest.folder.name, record_digest(newest))


def record_digest(run: Run) -> str:
    """SHA-256 of a run's record as first sealed.

    Raises
    ------
    RunError
        If there is no record, or it says that anything but the report was built again.
    """
    record = read_json(run.record, "files")
    if not record.get("rebuilt"):
        return file_digest(run.record)
    return hashlib.sha256(json_text(_as_sealed(run, record)).encode()).hexdigest()


def _as_sealed(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    rebuilt = record["rebuilt"]
    if not isinstance(rebuilt, dict) or set(rebuilt) != {REBUILT}:
        raise RunError(f"{run.record}: only {REBUILT} may be built again; run the audit again")
    files = {name: digest for name, digest in record["files"].items() if name != REBUILT}
    files |= {name: digest for name, digest in rebuilt.items() if digest is not None}
    return {key: value for key, value in record.items() if key != "rebuilt"} | {"files": files}


def previous_link(run: Run) -> Link | None:
    """What a run's record says of the run before; None where it names none.

    Raises
    ------
    RunError
        If that is no link, or leads out of the folder that the run lies in.
    """
    found = read_json(run.record, "files").get("previous")
    if found is None:
        return None
    if not isinstance(found, dict) or {"run", "sha256"} - found.keys():
        raise RunError(f"{run.record}: 'previous' is no link to a run; run the audit again")
    name = str(found["run"])
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise RunError(f"{run.record}: 'previous' leads elsewhere ({name!r}); run the audit again")
    return Link(name, str(found["sha256"]))


def earlier_runs(run: Run) -> Iterator[tuple[Run, Link, Run]]:
    """Every link as far back as there are runs: who names it, the link, the run that it leads to.

    The last run may be missing.

    Raises
    ------
    RunError
        If a record on the way is none, or the chain leads in a circle.
    """
    seen = {run.folder.resolve()}
    current = run
    while (link := previous_link(current)) is not None:
        earlier = Run(current.folder.resolve().parent / link.run)
        if earlier.folder.resolve() in seen:
            raise RunError(f"{current.record}: the chain leads in a circle; run the audit again")
        seen.add(earlier.folder.resolve())
        yield current, link, earlier
        if not earlier.finished:
            return
        current = earlier
