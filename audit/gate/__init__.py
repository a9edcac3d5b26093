"""Evidence and policy in, findings and a verdict that a release pipeline can obey out."""

from __future__ import annotations

from audit.gate.findings import Act, Change, Finding, Status, WorstSubgroup
from audit.gate.judge import judge_findings
from audit.gate.outputs import junit_xml, summary_markdown
from audit.gate.verdict import EXIT_CODES, Verdict, decide, refused
from audit.gate.waivers import read_waivers, waive

__all__ = [
    "EXIT_CODES",
    "Act",
    "Change",
    "Finding",
    "Status",
    "Verdict",
    "WorstSubgroup",
    "decide",
    "judge_findings",
    "junit_xml",
    "read_waivers",
    "refused",
    "summary_markdown",
    "waive",
]
