from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.errors import RunError
from audit.gate import EXIT_CODES, Finding, Status, Verdict, decide


def finding(status: Status, region: str = "hair", target_class: str = "nurse") -> Finding:
    return Finding("f" * 16, region, target_class, "forbidden", "removal", status, "Because.")


def findings(*statuses: Status) -> list[Finding]:
    return [finding(status) for status in statuses]


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((), "ERROR"),
        (("ERROR",), "ERROR"),
        (("CONFIRMED", "ERROR", "CLEARED"), "ERROR"),
        (("CONFIRMED",), "FAIL"),
        (("CLEARED", "CONFIRMED", "INCONCLUSIVE", "WAIVED"), "FAIL"),
        (("CLEARED",), "PASS"),
        (("CLEARED", "WAIVED"), "PASS"),
        (("WAIVED",), "PASS"),
        (("CLEARED", "INCONCLUSIVE"), "INCONCLUSIVE"),
        (("WAIVED", "INCONCLUSIVE"), "INCONCLUSIVE"),
    ],
)
def test_verdict_over_findings(statuses: tuple[Status, ...], verdict: str) -> None:
    decided = decide(findings(*statuses))
    assert decided.verdict == verdict
    assert sum(decided.counts.values()) == len(statuses)
    assert Verdict.from_json(decided.to_json()) == decided


def test_exit_codes() -> None:
    assert EXIT_CODES == {"PASS": 0, "FAIL": 1, "ERROR": 4, "INCONCLUSIVE": 5}
    assert decide(findings("CONFIRMED")).exit_code == 1


@pytest.mark.parametrize(
    ("decided", "reason"),
    [
        ([], "Nothing was tested: no region is forbidden or required for any class."),
        (
            [finding("CLEARED"), finding("WAIVED")],
            "Reliance is ruled out in 1 of 2 required tests, 1 waived.",
        ),
        (
            [finding("CONFIRMED"), finding("CONFIRMED", "rest", "*"), finding("CLEARED")],
            "2 of 3 required tests show that predictions rest on what they must not: "
            "hair for 'nurse', rest.",
        ),
        (
            [finding("INCONCLUSIVE", f"r{i}") for i in range(5)],
            "5 of 5 required tests are not decided: r0 for 'nurse', r1 for 'nurse', "
            "r2 for 'nurse' and 2 more.",
        ),
        (
            [finding("ERROR"), finding("CONFIRMED", "face")],
            "1 of 2 required tests could not be judged: hair for 'nurse'.",
        ),
    ],
)
def test_the_reason_is_one_sentence(decided: list[Finding], reason: str) -> None:
    assert decide(decided).reason == reason


GOOD: dict[str, Any] = json.loads(decide(findings("CLEARED", "CLEARED")).to_json())
COUNTS: dict[str, Any] = GOOD["counts"]


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="not JSON"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="list"),
        pytest.param({}, id="no fields"),
        pytest.param({k: v for k, v in GOOD.items() if k != "counts"}, id="counts missing"),
        pytest.param({k: v for k, v in GOOD.items() if k != "verdict"}, id="verdict missing"),
        pytest.param(GOOD | {"override": "PASS"}, id="unknown field"),
        pytest.param(GOOD | {"verdict": "pass"}, id="unknown verdict"),
        pytest.param(GOOD | {"verdict": True}, id="verdict of another kind"),
        pytest.param(GOOD | {"reason": None}, id="no reason"),
        pytest.param(GOOD | {"verdict": "FAIL"}, id="verdict does not follow"),
        pytest.param(GOOD | {"counts": COUNTS | {"CONFIRMED": 1}}, id="PASS with a confirmed one"),
        pytest.param(GOOD | {"counts": COUNTS | {"ERROR": 1}}, id="PASS with an error"),
        pytest.param(GOOD | {"counts": COUNTS | {"INCONCLUSIVE": 1}}, id="PASS with an open one"),
        pytest.param(GOOD | {"counts": COUNTS | {"CLEARED": 0}}, id="PASS with nothing tested"),
        pytest.param(GOOD | {"counts": COUNTS | {"CONFIRMED": -1}}, id="negative count"),
        pytest.param(GOOD | {"counts": COUNTS | {"CLEARED": "2"}}, id="count as text"),
        pytest.param(GOOD | {"counts": COUNTS | {"CLEARED": 1.5}}, id="part of a finding"),
        pytest.param(GOOD | {"counts": COUNTS | {"FINE": 1}}, id="unknown status"),
        pytest.param(GOOD | {"counts": {"CLEARED": 2}}, id="statuses missing"),
    ],
)
def test_a_file_that_is_not_whole_and_consistent_is_refused(
    altered: object, tmp_path: Path
) -> None:
    text = altered if isinstance(altered, str) else json.dumps(altered)
    with pytest.raises(RunError, match=r"not a verdict.*run the audit again"):
        Verdict.from_json(text)
    path = tmp_path / "verdict.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"verdict\.json: not a verdict"):
        Verdict.read(path)


def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="missing"):
        Verdict.read(tmp_path / "verdict.json")
    with pytest.raises(RunError, match="gate"):
        (tmp_path / "gate").mkdir()
        Verdict.read(tmp_path / "gate")
    (tmp_path / "latin").write_bytes(b'{"verdict": "\xe9"}')
    with pytest.raises(RunError, match="latin"):
        Verdict.read(tmp_path / "latin")


def test_a_repeated_key_cannot_turn_a_verdict() -> None:
    text = decide(findings("CONFIRMED")).to_json().rstrip("\n}") + ', "verdict": "PASS"}'
    with pytest.raises(RunError, match="not a verdict"):
        Verdict.from_json(text)


def test_hostile_names_survive_the_file() -> None:
    decided = decide([finding("CONFIRMED", 'a"</script>', "😀\n../..")])
    assert Verdict.from_json(decided.to_json()) == decided
