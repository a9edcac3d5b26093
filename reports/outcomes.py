"""How each finding ended, as the report counts and groups them: the statuses of a test run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from reports import words
from reports.run import Record

_ALWAYS = ("CONFIRMED", "SUSPECT", "HIDDEN", "CLEARED", "INCONCLUSIVE", "ERROR")  # be it as 0


def outcome(finding: Record) -> str:
    """The group of a finding: its status, told apart by what the attention screen says.

    Attention alone never moves a finding out of CLEARED or ERROR.

    >>> outcome({"status": "CONFIRMED", "attention": "silent"})
    'HIDDEN'
    >>> outcome({"status": "INCONCLUSIVE", "attention": "nominated"})
    'SUSPECT'
    >>> outcome({"status": "CLEARED", "attention": "nominated"})
    'CLEARED'
    """
    told_apart = {("CONFIRMED", "silent"): "HIDDEN", ("INCONCLUSIVE", "nominated"): "SUSPECT"}
    status = str(finding["status"])
    return told_apart.get((status, str(finding.get("attention"))), status)


def tally(findings: Sequence[Record]) -> list[dict[str, Any]]:
    """How many findings ended how, in the order of the report."""
    counts = Counter(outcome(finding) for finding in findings)
    looked_at = Counter(
        outcome(finding) for finding in findings if finding.get("attention") == "nominated"
    )
    return [
        {
            "key": key,
            "title": title,
            "meaning": meaning,
            "count": counts[key],
            "looked_at": looked_at[key] if key == "CLEARED" else 0,
        }
        for key, (title, meaning) in words.STATUSES.items()
        if counts[key] or key in _ALWAYS
    ]
