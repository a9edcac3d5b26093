"""A waiver covers one confirmed finding for a time; any fault voids it and is told in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.config_file import SHIPPED
from audit.errors import ConfigError
from audit.gate import Act, Finding, Status, decide, read_waivers, waive
from audit.gate.waivers import Waiver
from tests.evidence.planted import some_examples

TODAY = date(2026, 3, 10)
PRINTS = ("a" * 16, "b" * 16, "c" * 16)


def finding(status: Status = "CONFIRMED", print_: str = PRINTS[0], effect: float = 0.2) -> Finding:
    return Finding(
        print_, "hair", "nurse", "forbidden", "removal", status, "Because.", effect=effect
    )


def waiver(**changes: Any) -> Waiver:
    entry = {
        "fingerprint": PRINTS[0], "finding": "hair for nurse", "reason": "Known; BIAS-12.",
        "owner": "ana", "created": date(2026, 3, 1), "expires": date(2026, 3, 20),
        "max_effect": 0.25,
    }  # fmt: skip
    return Waiver.model_validate(entry | changes)


def test_a_valid_waiver_lets_the_verdict_pass_and_names_owner_and_end() -> None:
    (waived,), warnings = waive([finding()], [waiver()], TODAY)
    assert waived.status == "WAIVED"
    assert waived.reason == "Because. Waived by ana up to and including 2026-03-20: Known; BIAS-12."
    assert not warnings
    assert decide([waived]).verdict == "PASS"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expires": date(2026, 3, 9)}, "expired on 2026-03-09"),
        ({"created": date(2026, 2, 1), "expires": None}, "expired on 2026-03-03"),
        ({"created": date(2026, 3, 11)}, "created on 2026-03-11, after today (2026-03-10 UTC)"),
        ({"created": date(2026, 3, 9), "expires": date(2026, 3, 8)}, "before it was created"),
        ({"max_effect": 0.199}, "the effect is 20 %, and it covers 20 % at most"),
        ({"max_effect": 0.0}, "covers 0 % at most"),
        ({"fingerprint": "d" * 16}, "no finding of this run has the fingerprint dddd"),
        ({"fingerprint": ""}, "it has no fingerprint"),
        ({"owner": ""}, "it has no owner"),
        ({"owner": " \n"}, "it has no owner"),
        ({"reason": ""}, "it has no reason"),
        ({"created": None}, "it has no created"),
        ({"max_effect": None}, "it has no max_effect"),
        ({"owner": "", "reason": "", "max_effect": None}, "it has no reason, owner, max_effect"),
    ],
)  # fmt: skip
def test_a_faulty_waiver_is_void_and_told(changes: dict[str, Any], told: str) -> None:
    findings, (warning,) = waive([finding()], [waiver(**changes)], TODAY)
    assert findings == [finding()]
    assert warning.startswith("Waiver 1 (")
    assert told in warning
    assert decide(findings, [warning]).verdict == "FAIL"


def test_the_first_and_the_last_day_count() -> None:
    for day in (date(2026, 3, 1), date(2026, 3, 20)):
        assert waive([finding()], [waiver()], day)[0][0].status == "WAIVED"
    thirty = waiver(expires=None)
    assert waive([finding()], [thirty], date(2026, 3, 31))[0][0].status == "WAIVED"
    assert waive([finding()], [thirty], date(2026, 4, 1))[0][0].status == "CONFIRMED"


def test_an_effect_as_large_as_covered_is_covered() -> None:
    assert waive([finding(effect=0.25)], [waiver()], TODAY)[0][0].status == "WAIVED"


def test_of_two_waivers_for_one_finding_neither_holds() -> None:
    findings, warnings = waive([finding()], [waiver(), waiver(owner="bob")], TODAY)
    assert findings == [finding()]
    assert len(warnings) == 2
    assert all("waived twice; keep one" in warning for warning in warnings)


@pytest.mark.parametrize("status", ["ERROR", "INCONCLUSIVE", "CLEARED"])
def test_only_confirmed_can_be_waived(status: Status) -> None:
    findings, (warning,) = waive([finding(status)], [waiver()], TODAY)
    assert findings == [finding(status)]
    assert f"the finding is {status}, and only CONFIRMED can be waived" in warning


def test_an_effect_that_is_missing_is_not_covered() -> None:
    without = replace(finding(), effect=None)
    assert waive([without], [waiver()], TODAY)[0] == [without]


days = st.dates(TODAY - timedelta(40), TODAY + timedelta(40))
entries = st.builds(
    Waiver,
    fingerprint=st.sampled_from(["", *PRINTS]),
    reason=st.sampled_from(["", "Because."]),
    owner=st.sampled_from(["", "ana"]),
    created=st.none() | days,
    expires=st.none() | days,
    max_effect=st.none() | st.floats(0, 1),
)
statuses = st.tuples(*[st.sampled_from(["CONFIRMED", "CLEARED", "INCONCLUSIVE", "ERROR"])] * 3)


@some_examples
@given(st.lists(entries, max_size=5), statuses, st.randoms())
def test_every_waiver_covers_its_finding_or_is_told(
    waivers: list[Waiver], found: tuple[Status, ...], random: Any
) -> None:
    findings = [finding(s, p, 0.1 * i) for i, (s, p) in enumerate(zip(found, PRINTS, strict=True))]
    marked, warnings = waive(findings, waivers, TODAY)
    waived = {one.fingerprint for one in marked if one.status == "WAIVED"}
    assert len(waived) + len(warnings) == len(waivers)
    for before, after in zip(findings, marked, strict=True):
        if after != before:
            assert before.status == "CONFIRMED"
            (entry,) = (one for one in waivers if one.fingerprint == before.fingerprint)
            assert entry.owner
            assert entry.reason
            assert entry.created <= TODAY <= (entry.expires or entry.created + timedelta(30))
            assert before.effect <= entry.max_effect
            assert replace(after, status=before.status, reason=before.reason) == before
    shuffled = random.sample(waivers, len(waivers))
    assert waive(findings, shuffled, TODAY)[0] == marked
    if decide(findings).verdict != "FAIL":  # what is not known stays unknown
        assert decide(marked).verdict == decide(findings).verdict


def test_the_shipped_example_is_read_and_waives_nothing_by_itself() -> None:
    (entry,) = read_waivers(SHIPPED / "gate" / "waivers.yaml")
    assert entry.owner
    assert waive([finding()], [entry], entry.created)[0] == [finding()]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"w\.yaml: must be a mapping of keys such as 'waivers'"),
        ("waivers: [", r"w\.yaml:\d"),
        ("- fingerprint: a", r"must be a mapping"),
        ("{}", r"waivers: missing"),
        ("waivers:\n  - ownr: ana", r"w\.yaml:2: waivers\.0\.ownr: unknown key; .*owner"),
        ("waivers:\n  - owner: ana\n    expires: soon", r"w\.yaml:3: waivers\.0\.expires: "),
        ("waivers:\n  - {max_effect: .nan}", r"w\.yaml:2: waivers\.0\.max_effect: "),
        ("waivers:\n  - {max_effect: 25}", r"waivers\.0\.max_effect: .*less than or equal to 1"),
        ("waivers:\n  - {owner: ana, owner: bob}", r"w\.yaml:2: owner: given twice"),
        ("waivers:\n  - fingerprint: 0123456701234567", r"fingerprint: .*string"),
        ("waivers: none", r"w\.yaml:1: waivers: .*list"),
    ],
)
def test_a_file_that_is_none_is_told_with_line_and_key(
    text: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "w.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_waivers(tmp_path / "w.yaml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_waivers(tmp_path / "none.yaml")


def test_every_status_is_counted_in_a_verdict_or_zero() -> None:
    known = [finding(status) for status in get_args(Status)]
    assert sum(decide(known).counts.values()) == len(known)
    assert decide([finding("KNOWN"), finding("CLEARED")]).reason == (
        "Reliance is ruled out in 1 of 2 required tests, 1 known from the baseline."
    )


def test_a_waiver_must_cover_the_act_that_shows_most() -> None:
    acts = [Act(name, 40, 40, 0, effect=e) for name, e in (("remove:blur", 0.2), ("swap", 0.3))]
    by_weakest = replace(finding(), acts=acts)
    (left,), (told,) = waive([by_weakest], [waiver()], TODAY)
    assert left.status == "CONFIRMED"
    assert "the effect is 30 %, and it covers 25 % at most" in told
