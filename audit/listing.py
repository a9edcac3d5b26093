"""The runs below a folder, told from their small files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from audit.errors import CuecheckError, RunError
from audit.gate.verdict import Verdict
from audit.runs.files import read_json
from audit.runs.folder import Run
from audit.runs.record import check_files
from audit.tables import ALL, EVIDENCE, QUARANTINED, read_table

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it is built in
_READ = ("verdict.json", "findings.json", "evidence.parquet", "config.yaml")
_ACCURACY = {"measure": "accuracy", "target_class": ALL, "attribute": ALL}
_NUMBERS = ("effect", "low", "high", "n")


@dataclass(frozen=True)
class Listed:
    """A finished run in short.

    Attributes
    ----------
    run, audit, started
        Its folder, the name of its audit, and when it was started.
    verdict
        As sealed: waivers that ended since are not looked at.
    findings
        Claim, status and numbers of each, as in ``findings.json``.
    accuracy
        ``effect``, ``low``, ``high`` and ``n`` over all audited samples; empty where not measured.
    quarantined
        Samples that could not be used; None where the table of samples was left behind.
    hashes
        Of data, code and weights, by name; empty where the provenance was left behind.
    """

    run: Run
    audit: str
    started: datetime
    verdict: Verdict
    findings: list[dict[str, Any]]
    accuracy: dict[str, float]
    quarantined: int | None
    hashes: dict[str, str] = field(default_factory=dict)


def find_runs(folder: Path) -> Iterator[Run]:
    """Run folders at any depth, sorted; neither links nor what is inside of runs is followed."""
    for path, folders, files in os.walk(folder):
        run = Run(Path(path))
        if {run.identity.name, run.record.name} & set(files):
            folders.clear()
            yield run
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def read_listed(run: Run) -> Listed:
    """A run in short.

    Raises
    ------
    RunError
        If it is unfinished, or what is read of it is altered, missing or not what it should be.
    """
    if not run.finished:
        why = "left behind, since its data, code or settings changed" if run.stale.is_file() else (
            "still running, or interrupted"
        )  # fmt: skip
        raise RunError(f"not finished: {why}")
    try:
        check_files(run, _READ)
        identity = read_json(run.identity, "started")
        findings = read_json(run.findings, "findings")["findings"]
        config = yaml.load(run.config_file.read_bytes(), _Loader)
        if not isinstance(config["name"], str):  # an alias could stand for billions of words
            raise TypeError("the name of the audit is no text")
        return Listed(
            run=run,
            audit=config["name"],
            started=datetime.fromisoformat(identity["started"]).astimezone(UTC),
            verdict=Verdict.read(run.verdict),
            findings=[_finding(finding) for finding in findings],
            accuracy=_accuracy(run),
            quarantined=_quarantined(run),
            hashes=_hashes(run),
        )
    except (CuecheckError, OSError) as error:
        raise RunError(str(error)) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"cannot be read: {type(error).__name__}: {error}") from error


def _finding(found: dict[str, Any]) -> dict[str, Any]:
    """A claim, its status and numbers; None for a number that is none."""
    numbers = {key: found[key] for key in ("effect", "low", "high", "clusters")}
    return {
        **{key: str(found[key]) for key in ("region", "target_class", "test", "status")},
        **{key: None if value is None else float(value) for key, value in numbers.items()},
    }


def _accuracy(run: Run) -> dict[str, float]:
    rows = read_table(run.table("evidence"), EVIDENCE, list(_NUMBERS), _ACCURACY)
    return {name: float(rows[name].iloc[0]) for name in _NUMBERS} if len(rows) else {}


def _quarantined(run: Run) -> int | None:
    path = run.table("samples")
    if not path.is_file():
        return None
    status = pq.read_table(path, columns=["status"])["status"].cast("string")
    return pc.sum(pc.equal(status, QUARANTINED)).as_py() or 0


def _hashes(run: Run) -> dict[str, str]:
    if not run.provenance.is_file():
        return {}
    found = read_json(run.provenance).get("sha256")
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}
