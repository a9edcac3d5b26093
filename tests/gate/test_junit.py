from __future__ import annotations

import locale
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml, TestSuite
from lxml import etree

from audit.gate import Finding, Status, decide, junit_xml, refused
from tests.evidence.planted import some_examples
from tests.gate.named import NAMES, hostile_findings
from tests.gate.test_outputs import finding

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))
NOW = datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=UTC)


def written(*findings: Finding, name: str = "planted", warnings: tuple[str, ...] = ()) -> str:
    return junit_xml(name, findings, decide(findings, warnings), NOW)


def suite(text: str) -> TestSuite:
    """The one suite, as an independent reader sees it."""
    (found,) = JUnitXml.fromstring(text.encode())
    return found


def cases(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (
            case.name,
            [(type(result).__name__, result.type or result.message) for result in case.result],
        )
        for case in suite(text)
    ]


def printed(name: str) -> str:
    return "".join(c if c.isprintable() else " " for c in name)


def test_it_shows_as_good_only_what_is_cleared() -> None:
    statuses: tuple[Status, ...] = (
        "CLEARED", "CONFIRMED", "INCONCLUSIVE", "ERROR", "WAIVED", "KNOWN",
    )  # fmt: skip
    text = written(*(finding(status) for status in statuses))
    assert [result for _, result in cases(text)] == [
        [],
        [("Failure", "CONFIRMED")],
        [("Failure", "INCONCLUSIVE")],
        [("Error", "ERROR")],
        [("Skipped", "WAIVED: Because of hair.")],
        [("Skipped", "KNOWN: Because of hair.")],
    ]
    found = suite(text)
    assert (found.tests, found.failures, found.errors, found.skipped) == (6, 2, 1, 2)


def test_names_reasons_and_the_verdict() -> None:
    findings = [finding("CONFIRMED"), finding("INCONCLUSIVE", "rest", "*"), finding("CLEARED")]
    found = suite(written(*findings, warnings=("Two", "lines")))
    assert [case.name for case in found][:2] == [
        "hair / nurse (removal)",
        "rest / all classes (removal)",
    ]
    first = next(iter(found))
    assert first.classname == "cuecheck.planted"
    assert first.result[0].message == "CONFIRMED: Because of hair."
    assert found.timestamp == "2026-03-01T12:30:15"
    assert [(one.name, one.value) for one in found.properties()] == [("verdict", "FAIL")]


def test_the_encoding_is_declared_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: "iso-8859-1")
    monkeypatch.setattr(locale, "getencoding", lambda: "iso-8859-1")
    assert written(finding("CLEARED")).startswith("<?xml version='1.0' encoding='utf-8'?>\n")


@pytest.mark.parametrize("text", [written(), junit_xml("x", [], refused("No record."), NOW)])
def test_what_could_not_run_is_an_error(text: str) -> None:
    SCHEMA.assertValid(etree.fromstring(text.encode()))
    assert cases(text) == [("verdict", [("Error", "ERROR")])]
    assert suite(text).errors == 1


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_survive_in_valid_xml(name: str) -> None:
    text = written(*hostile_findings(name), name=name, warnings=(name,))
    SCHEMA.assertValid(etree.fromstring(text.encode()))
    found = list(suite(text))
    assert len(found) == 7
    assert found[0].name == f"{printed(name)} / {printed(name)} (removal)"
    assert found[0].result[0].message == f"CONFIRMED: Of {printed(name)}."
    assert found[0].classname == f"cuecheck.{printed(name)}"


@given(st.text(st.characters(codec="utf-8")))
@some_examples
def test_any_text_makes_valid_xml(name: str) -> None:
    text = written(replace(finding("CONFIRMED", name, name), reason=name), name=name)
    SCHEMA.assertValid(etree.fromstring(text.encode()))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('timestamp="2026-03-01T12:30:15"', 'timestamp="2026-03-01T12:30:15+00:00"'),
        ('tests="1"', 'tests="one"'),
        (' hostname="localhost"', ""),
        ("<testsuites>", '<testsuites skipped="0">'),
        ("<failure", '<failure line="1"'),
    ],
)
def test_the_schema_refuses_what_a_reader_would(good: str, bad: str) -> None:
    text = written(finding("CONFIRMED"))
    assert good in text
    assert not SCHEMA.validate(etree.fromstring(text.replace(good, bad).encode()))
