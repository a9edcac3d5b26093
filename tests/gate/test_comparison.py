"""Every claim of two runs: the ratchet's changes, and the others by their difference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from audit.gate.baseline import Side, growth, ratchet
from audit.gate.comparison import Compared, compare_claims
from audit.gate.findings import Finding
from tests.gate.test_baseline import audited, nurse

ALLOWED = 0.05


@cache
def side(rate: float) -> Side:
    """A run of which this part of the answers changes when hair is removed or swapped."""
    return audited(rate, n=300)


def nurses(found: list[Compared]) -> Compared:
    (one,) = (one for one in found if one.claim.target_class == "nurse")
    return one


def compared(now: Side, before: Side) -> Compared:
    return nurses(compare_claims(now, before, ALLOWED))


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        (0.4, 0.05, "fixed"),
        (0.05, 0.4, "new"),
        (0.3, 0.6, "worsened"),
        (0.6, 0.3, "improved"),
        (0.3, 0.32, "unchanged"),
        (0.05, 0.07, "unchanged"),
    ],
)
def test_each_kind_of_change(before: float, now: float, kind: str) -> None:
    found = compared(side(now), side(before))
    assert found.kind == kind
    assert found.difference is not None
    assert (found.difference.effect > 0) == (now > before) or kind == "unchanged"


def test_what_the_ratchet_names_keeps_its_name() -> None:
    for rates in ((0.4, 0.05), (0.05, 0.4), (0.3, 0.6)):
        before, now = map(side, rates)
        named = {one.fingerprint: one.change for one in ratchet(now, before, ALLOWED)}
        found = {one.claim.fingerprint: one.kind for one in compare_claims(now, before, ALLOWED)}
        assert found == named


def undecided(one: Side) -> Side:
    return replace(one, findings=[replace(f, status="INCONCLUSIVE") for f in one.findings])


def test_claims_that_neither_run_confirms_change_for_certain_only() -> None:
    low, high, close = (undecided(side(rate)) for rate in (0.1, 0.5, 0.14))
    assert compared(high, low).kind == "worsened"
    assert compared(low, high).kind == "improved"
    assert compared(close, low).kind == "unchanged"


def without(one: Side) -> Side:
    return replace(one, findings=[f for f in one.findings if f.target_class != "nurse"])


def other_acts(finding: Finding) -> Finding:
    return replace(finding, acts=[replace(act, act="remove:noise") for act in finding.acts])


def test_what_cannot_be_compared_says_so_and_has_no_difference() -> None:
    whole = side(0.05)
    broken = replace(whole, findings=[replace(f, status="ERROR") for f in whole.findings])
    renamed = replace(whole, findings=[other_acts(f) for f in whole.findings])
    for now, before in (
        (without(whole), whole),
        (whole, without(whole)),
        (broken, whole),
        (renamed, whole),
    ):
        assert compared(now, before).kind == "not comparable"
    assert compared(without(whole), whole).difference is None
    assert compared(renamed, whole).difference is None


def test_a_confirmed_claim_is_new_if_untested_before_and_open_if_untested_now() -> None:
    whole = side(0.4)
    assert compared(whole, without(whole)).kind == "new"
    gone = compared(without(whole), whole)
    assert (gone.kind, gone.now) == ("not comparable", None)


@pytest.mark.parametrize(("now", "before"), [(0.5, 0.3), (0.3, 0.5)])
def test_the_act_shown_is_the_one_that_says_least(now: float, before: float) -> None:
    ours, theirs = side(now), side(before)
    found = compared(ours, theirs)
    grown = growth(nurse(ours), nurse(theirs), ours.inputs, theirs.inputs)
    towards_zero = 1 if now > before else -1
    limits = {
        act: d.lower_limit if towards_zero > 0 else -d.upper_limit for act, d in grown.items()
    }
    fills = min((act for act in limits if act != "swap"), key=lambda act: limits[act])
    assert found.act_now is not None
    assert found.act_before is not None
    assert found.act_now.act == found.act_before.act == max(fills, "swap", key=lambda a: limits[a])
    assert found.difference == grown[found.act_now.act]


def test_the_two_sided_interval_holds_the_one_sided_limits() -> None:
    found = compared(side(0.5), side(0.3)).difference
    assert found is not None
    assert found.low < found.lower_limit < found.effect < found.upper_limit < found.high
