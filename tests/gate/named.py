"""Findings with names that mean something to XML, JSON, Markdown or a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from audit.gate import Finding, Status
from tests.gate.test_outputs import HOSTILE, finding

STATUSES: tuple[Status, ...] = get_args(Status)
NAMES = [*HOSTILE, "{0} {{1}}", "]]> <![CDATA[", "\ufffe\ud800", "a\\[b](c)", "x" * 5000, ""]


def hostile_findings(name: str) -> list[Finding]:
    """One of each status, and one of the other test, named so everywhere."""
    found = [replace(finding(status, name, name), reason=f"Of {name}.") for status in STATUSES]
    return [*found, replace(finding("CLEARED", name, "*"), test="sufficiency", effect=None)]
