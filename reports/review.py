"""What the page needs to let people mark findings: the run, and what a waiver must cover."""

from __future__ import annotations

import math
from typing import Any

from audit.runs.files import file_digest
from audit.runs.record import NEEDED
from reports import words
from reports.run import Record, Run

WAIVABLE = ("CONFIRMED", "WAIVED")  # the gate judges anew, and to it a waived one is confirmed
LASTS = 90  # days that the page suggests


def embed(run: Run) -> dict[str, Any]:
    """The run's identity and, by fingerprint, what a mark on a finding must know."""
    return {
        "run": identity(run),
        "lasts": LASTS,
        "findings": {str(one["fingerprint"]): _finding(one) for one in run.findings},
    }


def identity(run: Run) -> Record:
    """Which run is reviewed: its names, and the SHA-256 of the files that were judged.

    They are those of the run's record. That of the record itself cannot be told: the record covers
    the report.
    """
    return {
        "audit": run.config.name,
        "id": run.folder.resolve().name,
        "files": {name: file_digest(run.folder / name) for name in NEEDED},
    }


def _finding(finding: Record) -> Record:
    target = words.class_name(str(finding["target_class"]))
    return {
        "name": f"{finding['region']} for {target} ({finding.get('test')})",
        "status": str(finding.get("status")),
        "waivable": finding.get("status") in WAIVABLE,
        "largest": _largest(finding, "effect"),
        "suggested": suggested_limit(finding),
    }


def suggested_limit(finding: Record) -> float:
    """Effect that a waiver covers unless the reviewer says another: the largest upper limit.

    Rounded up to a whole per cent.

    >>> suggested_limit({"acts": [{"effect": 0.2, "upper_limit": 0.231}]})
    0.24
    """
    limit = max(_largest(finding, "upper_limit"), _largest(finding, "effect"))
    return min(1.0, math.ceil(100 * limit) / 100)


def _largest(finding: Record, key: str) -> float:
    """By the act that shows most, since a waiver must cover every act."""
    values = [act.get(key) for act in finding.get("acts") or [finding]]
    return max((float(value) for value in values if words.finite(value)), default=0.0)
