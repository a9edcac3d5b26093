"""Findings as SARIF 2.1.0, which code-scanning pages show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from audit import __version__
from audit.gate.findings import Finding, Status, fingerprint, name_of
from audit.gate.outputs import printable
from audit.gate.verdict import Verdict

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LONGEST = 1000  # characters of a message
_NO_VERDICT = "no-verdict"
_RULES = {
    "removal": (
        "RelianceShownByRemoval",
        "Answers must not change because this region is removed.",
        "The region is removed, or swapped for that of a donor, and the answers that change "
        "beyond those that change when an equal area elsewhere is removed are counted. The "
        "report shows pictures, intervals and what to do.",
    ),
    "sufficiency": (
        "RelianceShownBySufficiency",
        "Answers must not be kept by this region alone.",
        "What the class is about is replaced by that of another picture, and the answers that "
        "are kept beyond chance are counted. The report shows pictures, intervals and what to do.",
    ),
    _NO_VERDICT: (
        "NoVerdict",
        "The audit must be judged.",
        "Something that the verdict needs is missing, stale or altered, or nothing was tested. "
        "The message says what; run the audit again.",
    ),
}
# An error is what blocks the release, so that a page that blocks on errors agrees with the gate.
_LEVELS: dict[Status, str] = {
    "CONFIRMED": "error",
    "INCONCLUSIVE": "error",
    "ERROR": "error",
    "WAIVED": "warning",
    "KNOWN": "warning",
    "CLEARED": "none",
}


def sarif_json(name: str, findings: Sequence[Finding], verdict: Verdict) -> str:
    """SARIF with one result per required finding; without findings the verdict is the one result.

    CLEARED is kind ``pass``; WAIVED and KNOWN are suppressed, with why; the rest are errors.

    Parameters
    ----------
    name
        Of the audit.
    findings, verdict
        What was judged.
    """
    results = [_result(name, finding) for finding in findings] or [_no_verdict(name, verdict)]
    rules = [_rule(identity, *words) for identity, words in _RULES.items()]
    driver = {"name": "cuecheck", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": printable(f"cuecheck/{name}/")},
        "invocations": [_invocation(verdict)],
        # No address: where the run lies on this machine is nobody's business.
        "originalUriBaseIds": {"RUN": {"description": {"text": "The run folder."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rule(identity: str, name: str, short: str, full: str) -> dict[str, Any]:
    return {
        "id": identity,
        "name": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": full},
        "defaultConfiguration": {"level": "error"},
    }


def _invocation(verdict: Verdict) -> dict[str, Any]:
    notes = [{"level": "warning", "message": _message(text)} for text in verdict.warnings]
    if verdict.verdict == "ERROR":
        notes.insert(0, {"level": "error", "message": _message(verdict.reason)})
    return {
        "executionSuccessful": verdict.verdict != "ERROR",
        "exitCode": verdict.exit_code,
        "exitCodeDescription": verdict.verdict,
        "toolExecutionNotifications": notes,
    }


def _result(audit: str, finding: Finding) -> dict[str, Any]:
    told = f"{finding.status}: {name_of(finding)}. {finding.reason}"
    result = {
        **_about(finding.test, told, finding.fingerprint),
        "level": _LEVELS[finding.status],
        "kind": "pass" if finding.status == "CLEARED" else "fail",
        "properties": _properties(finding),
    }
    path = [audit, finding.region, finding.target_class]
    result["locations"][0]["logicalLocations"] = [
        {
            "name": printable(finding.region),
            "fullyQualifiedName": "/".join(map(printable, path)),
            "kind": "region",
        }
    ]
    if finding.status in ("WAIVED", "KNOWN"):
        why = {"kind": "external", "status": "accepted", "justification": printable(finding.reason)}
        result["suppressions"] = [why]
    return result


def _no_verdict(audit: str, verdict: Verdict) -> dict[str, Any]:
    claim = fingerprint(audit, "", "*", _NO_VERDICT)
    return {**_about(_NO_VERDICT, verdict.reason, claim), "level": "error", "kind": "fail"}


def _about(rule: str, text: str, claim: str) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": "findings.json", "uriBaseId": "RUN"}}
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "message": _message(text),
        "locations": [{"physicalLocation": {**place, "region": {"startLine": 1}}}],
        # GitHub knows an alert again by the second; of its own it would take the line's.
        "partialFingerprints": {"cuecheckFinding/v1": claim, "primaryLocationLineHash": claim},
    }


def _properties(finding: Finding) -> dict[str, Any]:
    told = {
        "status": finding.status,
        "region": printable(finding.region),
        "class": printable(finding.target_class),
        "effect": finding.effect,
        "low": finding.low,
        "high": finding.high,
        "lowerLimit": finding.lower_limit,
        "upperLimit": finding.upper_limit,
        "clusters": finding.clusters,
        "attention": finding.attention,
        "origin": finding.origin,
        "change": finding.change,
    }
    return {key: value for key, value in told.items() if value is not None}


def _message(text: str) -> dict[str, str]:
    """A message that is only text: brackets would make links, braces placeholders."""
    cut = printable(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
    for character, escaped in (("{", "{{"), ("}", "}}"), ("[", "\\["), ("]", "\\]")):
        cut = cut.replace(character, escaped)
    return {"text": cut}
