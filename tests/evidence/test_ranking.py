"""How well a number ranks a class, against comparing all pairs and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from audit.evidence.ranking import auc
from audit.evidence.signflip import generator
from tests.evidence.planted import some_examples
from tests.oracles import association as oracle

rows = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 2), st.integers(0, 6)), min_size=2, max_size=25
)
Rows = list[tuple[int, int, int]]


def ranked(some: Rows, classes: int = 3, resamples: int = 99) -> list[tuple[object, float]]:
    values, label, clusters = np.array(some).T
    return auc(
        values.astype(np.float64), label, clusters, classes,
        confidence=0.95, resamples=resamples, rng=generator(0),
    )  # fmt: skip


@given(rows)
@some_examples
def test_it_is_the_part_of_pairs_won_by_clusters_of_the_class(some: Rows) -> None:
    found = ranked(some)
    names = sorted({cluster for *_, cluster in some})
    held = {name: [(v, c) for v, c, cluster in some if cluster == name] for name in names}
    means = [np.mean([v for v, _ in held[name]]) for name in names]
    for target in range(3):
        inside = [np.mean([c == target for _, c in held[name]]) for name in names]
        interval, _ = found[target]
        if 0 < sum(inside) < len(inside):
            expected = oracle.auc([round(float(m), 9) for m in means], inside)
            assert interval.effect == pytest.approx(expected, abs=1e-9)
            assert interval.low <= interval.effect <= interval.high
        else:
            assert math.isnan(interval.effect)


def test_it_is_scikit_learns_and_p_is_mann_whitneys() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 90)
    values = rng.normal(0.4 * label)
    found = auc(values, label, np.arange(90), 2, confidence=0.95, resamples=19999, rng=generator(0))
    assert found[1][0].effect == pytest.approx(roc_auc_score(label, values))
    assert found[0][0].effect == pytest.approx(1 - found[1][0].effect)
    theirs = stats.mannwhitneyu(values[label == 1], values[label == 0]).pvalue
    assert found[1][1] == pytest.approx(theirs, abs=0.01)
    assert found[0][1] == found[1][1]


def test_many_clusters_give_the_normal_limit_of_the_permutations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    some = [(int(v), int(v > 0) if i % 4 == 0 else i % 2, i) for i, v in
            enumerate(rng.integers(-3, 4, 300))]  # fmt: skip
    drawn = ranked(some, 2, 9999)
    monkeypatch.setattr("audit.evidence.ranking._NORMAL", 10)
    assert ranked(some, 2)[0][1] == pytest.approx(drawn[0][1], abs=0.01)


def test_clusters_stay_whole_and_order_does_not_matter() -> None:
    some = [(i * 7 % 5, i % 2, i) for i in range(20)]
    once = ranked(some, 2)
    assert ranked(some * 3, 2) == once
    assert ranked(some[::-1], 2) == once


def test_a_perfect_cue_is_1_and_its_interval_has_a_width() -> None:
    some = [(i % 2, i % 2, i) for i in range(40)]
    (none, _), (perfect, p) = ranked(some, 2, 999)
    assert (none.effect, perfect.effect, p) == (0, 1, 0.001)
    assert 0.7 < perfect.low < 1


def test_the_interval_covers_and_shrinks() -> None:
    truth = stats.norm.cdf(1 / math.sqrt(2))
    rng = np.random.default_rng(2)
    widths, missed = [], 0
    for n in [60] * 150 + [600] * 2:
        label = np.arange(n) % 2
        values = rng.normal(label)
        found = auc(values, label, np.arange(n), 2, confidence=0.95, resamples=1, rng=generator(0))
        missed += not found[1][0].low <= truth <= found[1][0].high
        widths.append(found[1][0].high - found[1][0].low)
    assert missed / 152 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 152)
    assert max(widths[-2:]) < min(widths[:-2])


def test_a_constant_says_nothing() -> None:
    (interval, p), _ = ranked([(1, i % 2, i) for i in range(10)], 2)
    assert interval.effect == 0.5
    assert math.isnan(p)
