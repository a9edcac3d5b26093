"""Findings as JUnit XML, which pipelines show as test cases.

It is valid by the schemas of both Jenkins (xunit plugin) and Apache Ant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from audit.gate.findings import Finding, Status
from audit.gate.outputs import printable
from audit.gate.verdict import Verdict

_RESULTS: dict[Status, str] = {
    "CONFIRMED": "failure",
    "INCONCLUSIVE": "failure",  # a pipeline shows what is skipped as good
    "ERROR": "error",
    "WAIVED": "skipped",
    "KNOWN": "skipped",
}
_COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def junit_xml(name: str, findings: Sequence[Finding], verdict: Verdict, judged: datetime) -> str:
    """JUnit XML with one case per required finding; without findings the verdict is the one case.

    CONFIRMED and INCONCLUSIVE are failures, ERROR is an error, WAIVED and KNOWN are skipped.

    Parameters
    ----------
    name
        Of the audit.
    findings, verdict
        What was judged.
    judged
        When, in UTC.
    """
    cases = [_case(name, _title(finding), finding.status, finding.reason) for finding in findings]
    if not findings:
        cases = [_case(name, "verdict", "ERROR", verdict.reason)]
    results = Counter(result.tag for case in cases for result in case)
    counts = {counted: str(results[tag]) for tag, counted in _COUNTED.items()}
    root = Element("testsuites")
    # Ant demands all of these; the machine's name is nobody's business.
    where = {"id": "0", "package": "cuecheck", "hostname": "localhost", "time": "0"}
    when = judged.strftime("%Y-%m-%dT%H:%M:%S")
    told = {"name": "cuecheck", "timestamp": when, "tests": str(len(cases)), **counts, **where}
    suite = SubElement(root, "testsuite", told)
    properties = SubElement(suite, "properties")
    SubElement(properties, "property", {"name": "verdict", "value": verdict.verdict})
    suite.extend(cases)
    SubElement(suite, "system-out").text = printable(verdict.reason)
    SubElement(suite, "system-err").text = "\n".join(map(printable, verdict.warnings))
    indent(root)
    # Not as "unicode": that declares the encoding of the locale, whatever the file is written in.
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return f"{text.decode()}\n"


def _title(finding: Finding) -> str:
    target = "all classes" if finding.target_class == "*" else finding.target_class
    return f"{finding.region} / {target} ({finding.test})"


def _case(audit: str, title: str, status: Status, reason: str) -> Element:
    named = {"classname": printable(f"cuecheck.{audit}"), "name": printable(title), "time": "0"}
    case = Element("testcase", named)
    if tag := _RESULTS.get(status):
        result = SubElement(case, tag, {"message": f"{status}: {printable(reason)}"})
        if tag != "skipped":  # of which Ant allows no type
            result.set("type", status)
    return case
