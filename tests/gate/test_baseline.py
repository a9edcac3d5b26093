"""The ratchet: differences against closed forms and loops, then every kind of change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from audit.config import Audit
from audit.evidence.change import correlation
from audit.evidence.inputs import Inputs, read_inputs
from audit.evidence.intervals import newcombe_paired, paired_excess
from audit.evidence.reliance import pair
from audit.gate import Act, Finding, decide, judge_findings
from audit.gate.baseline import (
    Difference,
    Side,
    contributions,
    difference,
    growth,
    ratchet,
    shown_growth,
)
from audit.tables import ATTENTION, empty
from tests.evidence import planted
from tests.evidence.planted import some_examples

CONFIG = planted.config(policy={"required": ["hair"]})


def rate_act(hits: int, n: int) -> Act:
    low, high = proportion_confint(hits, n, alpha=0.1, method="wilson")
    return Act("swap", n, n, 0, effect=hits / n, lower_limit=low, upper_limit=high)


@pytest.mark.parametrize(
    ("one", "other"), [((56, 70), (48, 80)), ((10, 10), (0, 20)), ((0, 9), (0, 9))]
)
def test_independent_rates_give_newcombes_interval(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    found = difference(rate_act(*one), rate_act(*other), 0.0)
    low, high = confint_proportions_2indep(
        *one, *other, compare="diff", method="newcomb", alpha=0.1
    )
    assert found.effect == pytest.approx(one[0] / one[1] - other[0] / other[1])
    assert (found.lower_limit, found.upper_limit) == pytest.approx((low, high))


def test_paired_rates_give_newcombes_paired_interval() -> None:
    both, first, second, neither = 20, 12, 2, 80
    n = both + first + second + neither
    cross = both * neither - first * second - n / 2
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    phi = cross / math.sqrt(margins)
    found = difference(rate_act(both + first, n), rate_act(both + second, n), phi)
    low, high = newcombe_paired(both, first, second, neither, alpha=0.1)
    assert (found.lower_limit, found.upper_limit) == pytest.approx((low, high))


effects = st.floats(-1, 1)


@st.composite
def acts(draw: Any) -> Act:
    lower, effect, upper = sorted(draw(st.tuples(effects, effects, effects)))
    return Act("swap", 9, 9, 0, effect=effect, lower_limit=lower, upper_limit=upper)


@some_examples
@given(acts(), acts(), effects)
def test_the_difference_turns_round_with_the_runs(now: Act, before: Act, rho: float) -> None:
    one, other = difference(now, before, rho), difference(before, now, rho)
    assert one.effect == -other.effect
    assert one.lower_limit == pytest.approx(-other.upper_limit)
    assert one.lower_limit <= one.effect <= one.upper_limit


@some_examples
@given(acts(), acts(), st.floats(0, 1), st.floats(0, 1))
def test_more_correlation_never_widens_it(now: Act, before: Act, one: float, two: float) -> None:
    less, more = sorted((one, two))
    assert (
        difference(now, before, more).lower_limit
        >= difference(now, before, less).lower_limit - 1e-12
    )


def inputs_of(samples: pd.DataFrame, trials: pd.DataFrame, config: Audit = CONFIG) -> Inputs:
    return read_inputs(samples, empty(ATTENTION), trials, config)


def side(samples: pd.DataFrame, trials: pd.DataFrame, config: Audit = CONFIG) -> Side:
    evidence = planted.built(samples, trials, config)
    return Side(judge_findings(evidence, config), inputs_of(samples, trials, config))


def nurse(side: Side) -> Finding:
    (found,) = (one for one in side.findings if one.target_class == "nurse")
    return found


def audited(rate: float, *, seed: int = 1, n: int = 400, first: int = 0, size: int = 1) -> Side:
    """A run of which ``rate`` of the answers change when hair is removed or swapped."""
    samples = planted.samples(n, cluster_size=size)
    trials = planted.removal(samples, "hair", flips=rate, seed=seed)
    renamed = {name: f"s{int(name[1:]) + first:05d}" for name in samples["sample_id"].astype(str)}
    if first:
        samples["cluster_id"] = [f"c{first + i:05d}" for i in range(n)]
        samples["sample_id"] = samples["sample_id"].map(renamed)
        for column in ("sample_id", "donor_id"):
            trials[column] = trials[column].map(renamed)
    return side(samples, trials)


def loop_correlation(now: Side, before: Side, fill: str) -> float:
    """By hand, over cluster names: what each adds to the mean over clusters."""
    parts = []
    for one in (now, before):
        samples, trials = one.inputs.samples, one.inputs.interventions
        excess: dict[str, list[float]] = {}
        for _, sample in samples.iterrows():
            if sample["prediction"] != "nurse":
                continue
            flips = {}
            for _, trial in trials[trials["sample_id"] == sample["sample_id"]].iterrows():
                if trial["fill"] == fill and trial["region"] == "hair":
                    flips[trial["arm"]] = trial["prediction_after"] != trial["prediction_before"]
            if flips:
                difference = float(flips["act"]) - float(flips["placebo"])
                excess.setdefault(sample["cluster_id"], []).append(difference)
        means = {name: sum(values) / len(values) for name, values in excess.items()}
        centre = sum(means.values()) / len(means)
        parts.append({name: (mean - centre) / len(means) for name, mean in means.items()})
    top = sum(parts[0][name] * parts[1].get(name, 0.0) for name in parts[0])
    if top > 0:  # the continuity correction
        steps = [max(part.values()) - min(part.values()) for part in parts]
        top = max(top - steps[0] * steps[1] / 2, 0.0)
    squares = [sum(value**2 for value in part.values()) for part in parts]
    return top / math.sqrt(squares[0] * squares[1])


@pytest.mark.parametrize("size", [1, 3])
def test_correlation_of_two_runs_is_that_of_a_loop(size: int) -> None:
    now, before = (audited(0.3, seed=seed, n=60, size=size) for seed in (1, 2))
    for act, fill in (("remove:blur", "blur"), ("swap", "donor")):
        found = correlation(
            contributions(now.inputs, nurse(now), act),
            contributions(before.inputs, nurse(before), act),
        )
        assert found == pytest.approx(loop_correlation(now, before, fill))


def test_runs_on_other_samples_are_independent_and_so_compared_with_less_power() -> None:
    now = audited(0.3)
    other = audited(0.3, first=1000)
    act = "remove:blur"
    here, there = (contributions(one.inputs, nurse(one), act) for one in (now, other))
    assert correlation(here, there) == 0.0
    assert correlation(here, here) > 0.9


def simulated(rng: np.random.Generator, n: int, rates: Sequence[float]) -> Difference:
    """Two models on the same n pictures; each answer of the second is the first's at 60 %."""
    flips = [(rng.random(n) < rates[0]).astype(float), (rng.random(n) < rates[1]).astype(float)]
    same = rng.random(n) < 0.6
    flips[1] = np.where(same & (rates[0] == rates[1]), flips[0], flips[1])
    placebo = (rng.random(n) < 0.05).astype(float)
    names = [f"c{i}" for i in range(n)]
    found, parts = [], []
    for one in flips:
        numbers = vars(paired_excess(one, placebo, np.arange(n), 0.95))
        del numbers["low"], numbers["high"]
        found.append(Act("remove:blur", n, n, 0, **numbers))
        excess = one - placebo
        parts.append(pd.Series((excess - excess.mean()) / n, index=names))
    return difference(found[1], found[0], correlation(*parts))


@pytest.mark.parametrize("rates", [(0.2, 0.2), (0.2, 0.35)])
def test_one_sided_limits_cover_the_true_difference(rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    found = [simulated(rng, 150, rates) for _ in range(600)]
    truth = rates[1] - rates[0]
    for covered in (
        np.mean([one.lower_limit <= truth for one in found]),
        np.mean([one.upper_limit >= truth for one in found]),
    ):
        assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 600)


def test_more_samples_make_the_limits_narrower() -> None:
    widths = []
    for n in (60, 240, 960):
        found = simulated(np.random.default_rng(3), n, (0.2, 0.2))
        widths.append(found.upper_limit - found.lower_limit)
    assert widths == sorted(widths, reverse=True)


def changed(now: Side, before: Side, margin: float = 0.05) -> Finding:
    return nurse(Side(ratchet(now, before, margin), now.inputs))


def test_what_the_baseline_confirms_and_has_not_grown_is_known() -> None:
    found = changed(audited(0.32), audited(0.3))
    assert (found.status, found.change) == ("KNOWN", "unchanged")
    assert "Known from the baseline; it did not grow by 5 %" in found.reason
    assert decide([found]).verdict == "PASS"


def test_what_has_grown_is_worse_and_blocks() -> None:
    found = changed(audited(0.6), audited(0.3))
    assert (found.status, found.change) == ("CONFIRMED", "worsened")
    assert "Worse than in the baseline by more than 5 %" in found.reason
    assert changed(audited(0.6), audited(0.3), margin=0.5).change == "unchanged"


def test_what_the_baseline_did_not_confirm_is_new() -> None:
    found = changed(audited(0.4), audited(0.05))
    assert (found.status, found.change) == ("CONFIRMED", "new")
    assert "New: CLEARED in the baseline." in found.reason
    now, before = audited(0.4), audited(0.4)
    untested = replace(before, findings=[])
    found = changed(now, untested)
    assert (found.status, found.change) == ("CONFIRMED", "new")
    assert "New: not tested in the baseline." in found.reason


def test_what_is_cleared_now_is_fixed() -> None:
    found = changed(audited(0.05), audited(0.4))
    assert (found.status, found.change) == ("CLEARED", "fixed")


def test_what_is_not_decided_now_is_not_fixed() -> None:
    found = changed(audited(0.4, n=30), audited(0.4))
    assert (found.status, found.change) == ("INCONCLUSIVE", None)
    assert decide([found]).verdict == "INCONCLUSIVE"


def test_a_confirmed_claim_that_is_tested_no_more_is_an_error() -> None:
    before = audited(0.4)
    now = replace(before, findings=[one for one in before.findings if one.target_class != "nurse"])
    found = ratchet(now, before, 0.02)
    assert nurse(Side(found, now.inputs)).status == "ERROR"
    assert decide(found).verdict == "ERROR"


def test_a_waived_finding_stays_waived_and_tells_its_change() -> None:
    now = audited(0.6)
    waived = [replace(one, status="WAIVED") for one in now.findings]
    found = changed(replace(now, findings=waived), audited(0.3))
    assert (found.status, found.change) == ("WAIVED", "worsened")


def test_runs_without_an_act_in_common_cannot_be_compared() -> None:
    now, before = audited(0.4), audited(0.4)
    acts = [replace(act, act="remove:noise") for act in nurse(before).acts]
    other = replace(before, findings=[replace(nurse(before), acts=acts)])
    assert changed(now, other).change == "new"


def test_growth_is_of_the_weakest_fill_or_of_the_swap() -> None:
    now, before = audited(0.5), audited(0.3)
    (here,), (there,) = ([nurse(one)] for one in (now, before))

    def of(name: str) -> Difference:
        ours, theirs = [
            replace(f, acts=[a for a in f.acts if a.act == name]) for f in (here, there)
        ]
        (found,) = growth(ours, theirs, now.inputs, before.inputs).values()
        return found

    fills = min(of("remove:blur"), of("remove:local-mean"), key=lambda d: d.lower_limit)
    expected = max(fills, of("swap"), key=lambda d: d.lower_limit)
    assert shown_growth(growth(here, there, now.inputs, before.inputs)) == expected


def test_sufficiency_is_compared_as_if_on_other_samples() -> None:
    now = audited(0.5)
    found = replace(nurse(now), test="sufficiency")
    assert contributions(now.inputs, found, "keep:blur").empty


@settings(some_examples, max_examples=5)
@given(st.integers(0, 5), st.integers(0, 5), st.randoms())
def test_the_order_of_rows_changes_nothing(one: int, other: int, random: Any) -> None:
    samples = planted.samples(60)
    sides, shuffled = [], []
    for seed in (one, other):
        trials = planted.removal(samples, "hair", flips=0.4, seed=seed)
        sides.append(side(samples, trials))
        order = np.random.default_rng(random.randrange(2**32)).permutation(len(trials))
        mixed = samples.sample(frac=1, random_state=random.randrange(2**32))
        shuffled.append(replace(sides[-1], inputs=inputs_of(mixed, trials.iloc[order])))
    assert ratchet(*sides, 0.02) == ratchet(*shuffled, 0.02)


def test_a_growth_that_is_only_estimated_blocks_too() -> None:
    now, before = audited(0.35, n=200), audited(0.25, n=200, seed=5)
    grown = growth(nurse(now), nurse(before), now.inputs, before.inputs)
    assert shown_growth(grown).lower_limit < 0.05 < max(d.effect for d in grown.values())
    found = changed(now, before, 0.05)
    assert (found.status, found.change) == ("CONFIRMED", "worsened")
    assert "Seems worse" in found.reason


def test_a_claim_that_is_no_longer_tested_keeps_no_number_of_the_baseline() -> None:
    before = audited(0.4)
    found = ratchet(replace(before, findings=[]), before, 0.05)
    assert {(f.status, f.effect, f.n, tuple(f.acts)) for f in found} == {("ERROR", None, 0, ())}


def test_contributions_are_those_of_the_weighted_effect() -> None:
    side = audited(0.4)
    drawn = side.inputs.samples.assign(
        stands_for=np.where(np.arange(400) % 2, 1.0, 9.0)[: len(side.inputs.samples)]
    )
    inputs = replace(side.inputs, samples=drawn)
    added = contributions(inputs, nurse(side), "remove:blur")
    pairs = pair(inputs, "hair", "removal", "blur")
    used = (inputs.prediction == "nurse") & pairs.there
    excess, weight = (pairs.flipped - pairs.flipped_placebo)[used], inputs.stands_for[used]
    mean = (excess * weight).sum() / weight.sum()
    expected = weight * (excess - mean) / weight.sum()  # every sample is a cluster
    by_name = dict(zip(inputs.samples["cluster_id"].to_numpy(object)[used], expected, strict=True))
    assert added.to_dict() == pytest.approx(by_name)
