"""What a run convicts that the run of its audit before did not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from audit.gate import Finding
from audit.gate.findings import name_of
from audit.judgement import judge_again
from audit.runs.chain import previous_link
from audit.runs.folder import Run


def worse_than_before(run: Run, day: date) -> list[str]:
    """What a run confirms that the run of its audit before did not, or less so; in sentences.

    The run before is the one that its record names. Without one everything is new.
    """
    link = previous_link(run)
    if link is None:
        found = [finding for finding in judge_again(run, day).findings if _convicts(finding)]
        return [f"No run before; new: {_listed(found)}."] if found else []
    before = Run(run.folder.resolve().parent / link.run)
    judged = judge_again(run, day, baseline=before)
    if judged.verdict.verdict == "ERROR":
        return [f"Not compared with {link.run}: {judged.verdict.reason}"]
    return [
        f"{told} compared with {link.run}: {_listed(found)}."
        for told, change in (("New", "new"), ("Worse", "worsened"))
        if (found := [f for f in judged.findings if _convicts(f) and f.change == change])
    ]


def _convicts(finding: Finding) -> bool:
    return finding.status == "CONFIRMED"


def _listed(findings: Sequence[Finding]) -> str:
    return ", ".join(name_of(finding) for finding in findings)
