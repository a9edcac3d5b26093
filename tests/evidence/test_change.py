"""Accuracy before and after: closed forms, a loop over clusters, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from audit.evidence.change import AccuracyChange, accuracy_changes, change, correlation
from audit.evidence.inputs import Inputs, read_inputs
from audit.evidence.intervals import Interval, newcombe_paired, rate
from audit.tables import ALL, ATTENTION, empty
from tests.evidence import planted
from tests.oracles import statistics

TRIALS = planted.removal(planted.samples(2), "face", flips=0.0).iloc[:0]
Z = float(stats.norm.ppf(0.975))


def answered(right: np.ndarray, *, first: int = 0, cluster_size: int = 1) -> Inputs:
    """An audit of samples ``first`` and up, answered rightly or wrongly."""
    samples = planted.samples(len(right), cluster_size=cluster_size)
    label = samples["label"].astype(object)
    wrong = np.where(label == "doctor", "nurse", "doctor")
    samples["prediction"] = np.where(right, label, wrong)
    samples["sample_id"] = [f"s{first + i}" for i in range(len(right))]
    samples["cluster_id"] = [f"c{(first + i) // cluster_size}" for i in range(len(right))]
    return read_inputs(samples, empty(ATTENTION), TRIALS, planted.config())


def of(found: list[AccuracyChange], *name: str) -> AccuracyChange:
    cells = [(one.now.target_class, one.now.attribute, one.now.subgroup) for one in found]
    return found[cells.index(name or (ALL, ALL, ALL))]  # type: ignore[arg-type]


def draw(seed: int, n: int, p: float) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < p


def test_runs_on_other_samples_give_newcombes_interval() -> None:
    now, before = draw(1, 80, 0.9), draw(2, 60, 0.7)
    found = of(accuracy_changes(answered(now, first=1000), answered(before)))
    low, high = confint_proportions_2indep(
        now.sum(), 80, before.sum(), 60, compare="diff", method="newcomb"
    )
    assert found.shared == 0
    assert found.difference.effect == pytest.approx(now.mean() - before.mean())
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))


@pytest.mark.parametrize("first", [0, 30])  # all clusters in both, or half of them
def test_runs_on_the_same_samples_are_paired_as_a_loop_pairs_them(first: int) -> None:
    now, before = draw(1, 60, 0.9), draw(2, 60, 0.7)
    before[20:] = now[20:]
    hits = (
        {f"c{first + i}": [int(hit)] for i, hit in enumerate(now)},
        {f"c{i}": [int(hit)] for i, hit in enumerate(before)},
    )
    found = of(accuracy_changes(answered(now, first=first), answered(before)))
    interval = found.difference
    expected = statistics.difference_of_rates(hits, Z)
    assert (interval.effect, interval.low, interval.high) == pytest.approx(expected)
    assert found.shared == 60 - first


@pytest.mark.parametrize("flipped", [0, 2, 9])  # 0: both models answer alike
@pytest.mark.parametrize("n", [10, 50])
def test_of_the_same_single_samples_it_is_newcombes_paired_interval(n: int, flipped: int) -> None:
    now = np.arange(n) < n / 2
    before = now ^ (np.arange(n) < flipped)
    counts = [(now & before).sum(), (now & ~before).sum(), (~now & before).sum()]
    found = of(accuracy_changes(answered(now), answered(before))).difference
    low, high = newcombe_paired(*counts, n - sum(counts), alpha=0.05)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_cluster_says_nothing_of_how_runs_go_together() -> None:
    now, before = np.array([1, 1, 0]) > 0, np.array([1, 0, 0]) > 0
    paired, apart = (
        of(accuracy_changes(answered(now, cluster_size=3, first=first),
                            answered(before, cluster_size=3))).difference
        for first in (0, 300)
    )  # fmt: skip
    assert (paired.low, paired.high) == pytest.approx((apart.low, apart.high))


def test_the_order_of_clusters_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    one, other = (pd.Series(x - x.mean()) for x in rng.multivariate_normal(
        [0, 0], [[1, 0.9], [0.9, 1]], 90).T)  # fmt: skip
    order = rng.permutation(90)
    assert 0.5 < correlation(one, other) == pytest.approx(correlation(one.iloc[order], other))


def test_every_cell_that_both_runs_have_is_compared_and_no_other() -> None:
    now, before = answered(draw(1, 40, 0.9)), answered(draw(2, 40, 0.7))
    before.samples.loc[before.samples["attribute:gender"] == "man", "attribute:gender"] = "woman"
    found = accuracy_changes(now, before)
    cells = {(one.now.target_class, one.now.subgroup) for one in found}
    assert cells == {(name, group) for name in (ALL, "doctor", "nurse") for group in (ALL, "woman")}
    doctors = of(found, "doctor", ALL, ALL)
    for side, inputs in ((doctors.now, now), (doctors.before, before)):
        own = inputs.samples[inputs.samples["label"] == "doctor"]
        assert side.interval.effect == pytest.approx((own["prediction"] == "doctor").mean())


def test_an_unmeasured_side_makes_no_difference() -> None:
    found = change(Interval(), Interval(0.5, 0.4, 0.6, 0.4, 0.6), 0.3)
    assert all(math.isnan(number) for number in vars(found).values())


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_the_interval_covers_the_true_difference(overlap: float) -> None:
    rng, n, covered = np.random.default_rng(5), 120, []
    for _ in range(250):
        easy = rng.random(n)  # the same pictures are easy for both models
        hits = [(easy < p).astype(float) for p in (0.8, 0.7)]
        if not overlap:
            hits[1] = (rng.random(n) < 0.7).astype(float)
        names = [[f"c{i}" for i in range(n)], [f"c{i + (0 if overlap else n)}" for i in range(n)]]
        sums = [
            pd.Series((one - one.mean()) / n, index=own)
            for one, own in zip(hits, names, strict=True)
        ]
        sides = [rate(one, np.arange(n), 0.95) for one in hits]
        found = change(*sides, correlation(*sums))
        covered.append(found.low <= 0.1 <= found.high)
    assert np.mean(covered) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 250)


def test_pairing_makes_the_interval_narrower_where_models_err_alike() -> None:
    now = draw(1, 200, 0.8)
    before = now.copy()
    before[:10] = ~before[:10]
    paired = of(accuracy_changes(answered(now), answered(before))).difference
    apart = of(accuracy_changes(answered(now, first=1000), answered(before))).difference
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)
