"""What the first screen says of a finding: its test in words, and whom it hits hardest."""

from __future__ import annotations

from typing import Any

from audit.gate.findings import SWAP
from reports.figures.effects import MEASURES
from reports.run import Record, Run


def told(run: Run, finding: Record) -> dict[str, Any]:
    """What the sentence about a confirmed finding needs besides its numbers."""
    act = deciding_act(finding)
    test = str(finding.get("test"))
    return {
        "kind": SWAP if act == SWAP else test,
        "harmed": _harmed(run, finding, MEASURES.get(test, ""), act),
    }


def deciding_act(finding: Record) -> str:
    """The act whose effect is the finding's; empty where none is recorded."""
    return next(
        (str(act["act"]) for act in finding["acts"] if act["effect"] == finding["effect"]), ""
    )


def _harmed(run: Run, finding: Record, measure: str, act: str) -> Record | None:
    """The subgroup with the largest effect, with its interval and number of pictures."""
    worst = finding.get("worst_subgroup")
    if not worst:
        return None
    wanted = {
        "measure": measure,
        "region": finding["region"],
        "target_class": finding["target_class"],
        "attribute": worst["attribute"],
        "subgroup": worst["subgroup"],
        "act": act,
    }
    rows = run.evidence
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    unknown: Record = dict.fromkeys(("low", "high", "n", "clusters"))
    measured = {str(key): value for row in rows.to_dict("records") for key, value in row.items()}
    return unknown | dict(worst) | measured
