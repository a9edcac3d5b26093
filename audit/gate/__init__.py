"""Evidence and policy in, findings and a verdict that a release pipeline can obey out."""

from __future__ import annotations

from audit.gate.findings import Act, Change, Finding, Status, WorstSubgroup
from audit.gate.judge import judge_findings
from audit.gate.junit import junit_xml
from audit.gate.origin import with_origins
from audit.gate.outputs import refusal_markdown, summary_markdown
from audit.gate.sarif import sarif_json
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
    "refusal_markdown",
    "refused",
    "sarif_json",
    "summary_markdown",
    "waive",
    "with_origins",
]
