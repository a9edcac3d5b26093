"""The verdict for other tools: Markdown for a pull request, JUnit XML for a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from audit.config import Audit
from audit.gate.findings import Finding
from audit.gate.reasons import percent
from audit.gate.verdict import Verdict

_ROWS = 20  # findings in the summary
_ORDER = ("ERROR", "CONFIRMED", "INCONCLUSIVE", "WAIVED", "KNOWN", "CLEARED")


def summary_markdown(config: Audit, findings: Sequence[Finding], verdict: Verdict) -> str:
    """Short Markdown for a pull request: the verdict, then the findings, worst first.

    Names from the data are escaped: no markup, link, mention or line break survives.
    """
    ranked = sorted(
        findings, key=lambda finding: (_ORDER.index(finding.status), -(finding.effect or 0.0))
    )
    lines = [
        f"## Bias audit {_escaped(config.name)}: {verdict.verdict}",
        "",
        _escaped(verdict.reason),
    ]
    if verdict.warnings:
        lines += ["", *(f"- {_escaped(warning)}" for warning in verdict.warnings)]
    if ranked:
        limits = f"{100 * config.statistics.confidence:.4g} % limits"
        lines += [
            "",
            f"| status | region | class | effect | {limits} | independent samples |",
            "| --- | --- | --- | ---: | ---: | ---: |",
            *(_table_row(finding) for finding in ranked[:_ROWS]),
        ]
    if len(ranked) > _ROWS:
        lines += ["", f"… and {len(ranked) - _ROWS} more."]
    accepted = [finding for finding in ranked if finding.status in ("WAIVED", "KNOWN")]
    if accepted:
        lines += ["", *(f"- {f.status}: {_escaped(f.reason)}" for f in accepted[:_ROWS])]
    return "\n".join(lines) + "\n"


def _table_row(finding: Finding) -> str:
    target = "all" if finding.target_class == "*" else _escaped(finding.target_class)
    cells = [
        f"{finding.status}, {finding.change}" if finding.change else finding.status,
        _escaped(finding.region),
        target,
        percent(finding.effect),
        "unknown" if finding.low is None else f"{percent(finding.low)} to {percent(finding.high)}",
        f"{finding.clusters:,}",
    ]
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line.

    Everything but letters, digits and harmless punctuation becomes a character reference, which
    cannot form markup; mentions and issue numbers are found after that, so a zero-width space
    parts them.
    """
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character.isalnum() or character in " ,;%'()":
        return character
    if not character.isprintable():
        return " "
    apart = "&#8203;" if character in "@#" else ""
    return f"&#{ord(character)};{apart}"


def junit_xml(config: Audit, findings: Sequence[Finding], verdict: Verdict) -> str:
    """JUnit XML with one case per required finding.

    CONFIRMED is a failure; ERROR and INCONCLUSIVE are errors, since a pipeline shows what is
    skipped as good; WAIVED and KNOWN are skipped. Without findings the verdict is the one case.
    """
    suite = TestSuite("cuecheck")
    for finding in findings:
        target = "all classes" if finding.target_class == "*" else finding.target_class
        name = printable(f"{finding.region} / {target} ({finding.test})")
        case = TestCase(name, f"cuecheck.{config.name}")
        reason = printable(finding.reason)
        if finding.status == "CONFIRMED":
            case.result = [Failure(reason, "CONFIRMED")]
        elif finding.status in ("ERROR", "INCONCLUSIVE"):
            case.result = [Error(reason, finding.status)]
        elif finding.status in ("WAIVED", "KNOWN"):
            case.result = [Skipped(reason, finding.status)]
        suite.add_testcase(case)
    if not findings:
        case = TestCase("verdict", f"cuecheck.{config.name}")
        case.result = [Error(printable(verdict.reason), verdict.verdict)]
        suite.add_testcase(case)
    xml: Any = JUnitXml()
    xml.add_testsuite(suite)
    xml.update_statistics()
    text: str = xml.tostring().decode("utf-8")
    return text


def printable(text: str) -> str:
    """Text without control characters: XML cannot hold them, and terminals obey them."""
    return "".join(character if character.isprintable() else " " for character in text)
