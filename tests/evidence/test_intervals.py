from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from audit.evidence.bootstrap import cluster_means, difference_of_means
from audit.evidence.intervals import (
    Interval,
    effective_clusters,
    effective_size,
    equal_weights,
    newcombe_paired,
    paired_excess,
    rate,
    wilson,
)
from tests.evidence.planted import some_examples
from tests.oracles import statistics as oracle

Z = stats.norm.ppf(0.975)
Z_ONE_SIDED = stats.norm.ppf(0.95)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe (1998); Altman et al., Statistics with Confidence (2000), table 6.2;
        # Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables (2017), ch. 8
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((14, 5, 0, 22), 0.0115, 0.2265),
        ((1, 1, 7, 12), -0.5069, -0.0256),
        ((59, 6, 16, 80), -0.1186, -0.0046),
    ],
)
def test_newcombe_gives_the_published_intervals(
    table: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert_allclose(newcombe_paired(*table, alpha=0.05), (low, high), atol=6e-5)


counts = st.integers(0, 40)


@given(counts, counts, counts, counts)
@some_examples
def test_newcombe_agrees_with_the_paper_step_by_step(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d == 0:
        return
    expected = oracle.newcombe_paired(a, b, c, d, Z)
    assert_allclose(newcombe_paired(a, b, c, d, alpha=0.05), np.clip(expected, -1, 1), atol=1e-9)


@given(st.integers(1, 300), st.floats(0, 1))
@some_examples
def test_wilson_holds_the_rates_the_score_test_accepts(n: int, part: float) -> None:
    hits = round(part * n)
    assert_allclose(wilson(hits / n, n, 0.05), oracle.wilson(hits, n, Z), atol=1e-9)


def test_wilson_by_hand() -> None:
    # 10 of 10: lower limit 1 / (1 + z^2 / 10) = 0.7225
    assert_allclose(wilson(1.0, 10, 0.05), (1 / (1 + Z * Z / 10), 1.0))


flips = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 12)), min_size=1)


@given(flips, st.sampled_from([0.8, 0.95, 0.99]))
@some_examples
def test_an_interval_is_always_defined_ordered_and_in_range(
    pairs: list[tuple[bool, bool, int]], confidence: float
) -> None:
    first, second, clusters = (np.array(column) for column in zip(*pairs, strict=True))
    found = paired_excess(first.astype(float), second.astype(float), clusters, confidence)
    ordered = [found.low, found.lower_limit, found.effect, found.upper_limit, found.high]
    assert all(-1 <= number <= 1 for number in ordered)
    assert (np.diff(ordered) >= -1e-12).all()


@pytest.mark.parametrize("n", [1, 2, 30, 31])
def test_no_flips_at_all_still_give_limits(n: int) -> None:
    none = np.zeros(n)
    found = paired_excess(none, none, np.arange(n), 0.95)
    z = Z_ONE_SIDED
    assert found.effect == 0
    assert_allclose(found.upper_limit, z * z / (n + z * z), atol=1e-12)
    assert_allclose(found.lower_limit, -found.upper_limit)


def test_single_sample_clusters_give_the_plain_intervals() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random(80) < p for p in (0.4, 0.1))
    found = paired_excess(first.astype(float), second.astype(float), rng.permutation(80), 0.95)
    table = (
        (first & second).sum(),
        (first & ~second).sum(),
        (~first & second).sum(),
        (~first & ~second).sum(),
    )
    assert_allclose((found.low, found.high), oracle.newcombe_paired(*table, Z))
    one_sided = oracle.newcombe_paired(*table, Z_ONE_SIDED)
    assert_allclose((found.lower_limit, found.upper_limit), one_sided)
    plain = rate(first.astype(float), np.arange(80), 0.95)
    assert_allclose((plain.low, plain.high), oracle.wilson(first.sum(), 80, Z))


def test_effective_size_is_the_ratio_of_the_two_variances() -> None:
    rng = np.random.default_rng(1)
    clusters = np.sort(rng.integers(0, 15, 60))
    values = rng.normal(size=15)[clusters] + 0.3 * rng.normal(size=60)
    weights = equal_weights(clusters)
    expected = oracle.effective_size(values.tolist(), weights.tolist(), clusters.tolist())
    assert expected < 30
    few = stats.t.ppf(0.975, 59) / stats.t.ppf(0.975, 14)
    assert_allclose(effective_size(values, weights, clusters, 0.05), expected * few**2)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
@some_examples
def test_equal_weights_give_each_cluster_the_same(clusters: list[int]) -> None:
    codes = np.array(clusters)
    weights = equal_weights(codes)
    totals = [weights[codes == code].sum() for code in set(clusters)]
    assert_allclose(totals, 1 / len(totals))
    assert_allclose(effective_clusters(weights, codes), len(totals))


def test_the_effect_is_the_mean_over_clusters() -> None:
    clusters = np.array([0] * 8 + [1] + [2])
    first = np.array([1.0] * 8 + [0.0] + [1.0])
    assert paired_excess(first, np.zeros(10), clusters, 0.95).effect == pytest.approx(2 / 3)


def test_another_clustering_only_widens() -> None:
    rng = np.random.default_rng(7)
    donors = np.arange(120) % 5
    first = (rng.random(5) < 0.5)[donors].astype(float)
    alone = paired_excess(first, np.zeros(120), np.arange(120), 0.95)
    shared = paired_excess(first, np.zeros(120), np.arange(120), 0.95, also_shared=[donors])
    assert shared.effect == alone.effect
    assert shared.high - shared.low > 2 * (alone.high - alone.low)
    again = paired_excess(first, np.zeros(120), np.arange(120), 0.95, also_shared=[np.arange(120)])
    assert_allclose(list(vars(again).values()), list(vars(alone).values()))


@given(flips, st.integers(2, 5))
@some_examples
def test_copies_within_a_cluster_never_narrow_the_interval(
    pairs: list[tuple[bool, bool, int]], times: int
) -> None:
    first, second, _ = (np.array(column, float) for column in zip(*pairs, strict=True))
    clusters = np.arange(len(pairs))
    once = paired_excess(first, second, clusters, 0.95)
    copied = paired_excess(
        np.tile(first, times), np.tile(second, times), np.tile(clusters, times), 0.95
    )
    assert_allclose(copied.effect, once.effect, atol=1e-12)
    assert copied.low <= once.low + 1e-9
    assert copied.high >= once.high - 1e-9
    assert copied.lower_limit <= once.lower_limit + 1e-9
    assert copied.upper_limit >= once.upper_limit - 1e-9


def test_one_cluster_counts_as_one_sample() -> None:
    assert effective_size(np.array([1.0, 0.0, 1.0]), np.full(3, 1 / 3), np.zeros(3, int), 0.05) == 1


@pytest.mark.parametrize(
    ("sizes", "rates", "icc"),
    [
        ([1] * 30, (0.3, 0.05), 0.0),
        ([5] * 30, (0.3, 0.05), 0.3),
        ([4] * 60, (0.06, 0.06), 0.6),
        ([1] * 180 + [15] * 20, (0.12, 0.04), 0.8),
        ([1] * 40 + [100], (0.3, 0.05), 0.8),
    ],
)
def test_coverage_is_near_nominal(sizes: list[int], rates: tuple[float, float], icc: float) -> None:
    rng = np.random.default_rng(2)
    clusters = len(sizes)
    members = np.repeat(np.arange(clusters), sizes)
    runs = 300
    inside = above = below = 0
    for _ in range(runs):
        arms = []
        for p in rates:
            scale = math.inf if icc == 0 else 1 / icc - 1
            own = (
                np.full(clusters, p) if icc == 0 else rng.beta(p * scale, (1 - p) * scale, clusters)
            )
            arms.append((rng.random(members.size) < own[members]).astype(float))
        found = paired_excess(arms[0], arms[1], members, 0.95)
        truth = rates[0] - rates[1]
        inside += found.low <= truth <= found.high
        above += found.upper_limit >= truth
        below += found.lower_limit <= truth
    # three standard errors of 95 % coverage in 300 runs are 3.8 points
    assert min(inside, above, below) / runs > 0.95 - 0.038


def test_missing_numbers_and_empty_cells_are_undefined_never_dropped() -> None:
    nothing, clusters = np.array([]), np.array([], int)
    broken = np.array([1.0, math.nan])
    for found in (
        paired_excess(nothing, nothing, clusters, 0.95),
        paired_excess(broken, np.zeros(2), np.arange(2), 0.95),
        rate(broken, np.arange(2), 0.95),
    ):
        assert all(map(math.isnan, vars(found).values()))


def _means(values: np.ndarray, clusters: np.ndarray, confidence: float = 0.95) -> Interval:
    return cluster_means(values[None], clusters, confidence, 1999, np.random.default_rng(0))[0]


def test_cluster_means_resample_clusters_not_samples() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=40)
    one = _means(centres, np.arange(40))
    many = _means(np.repeat(centres, 6), np.repeat(np.arange(40), 6))
    assert_allclose(list(vars(one).values()), list(vars(many).values()), atol=1e-12)
    error = centres.std(ddof=1) / math.sqrt(40)
    assert_allclose((one.low, one.high), centres.mean() + np.array([-1, 1]) * Z * error, atol=0.08)
    assert one.low < one.lower_limit < one.effect < one.upper_limit < one.high


@pytest.mark.parametrize("n", [2, 9, 1001])
def test_cluster_means_without_bca_are_t_intervals(n: int) -> None:
    values = np.random.default_rng(6).normal(size=n)
    found = _means(values, np.arange(n))
    expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert_allclose((found.low, found.high), expected)


def test_cluster_means_without_spread_or_clusters() -> None:
    same = _means(np.full(20, 0.25), np.arange(20))
    assert (same.low, same.high) == (0.25, 0.25)
    alone = _means(np.array([1.0, 2.0]), np.zeros(2, int))
    assert alone.effect == 1.5
    assert math.isnan(alone.low)


def test_bca_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(1.5, size=(2, 40))
    found = cluster_means(values, np.arange(40), 0.95, 999, np.random.default_rng(3))
    for level, names in ((0.95, ("low", "high")), (0.9, ("lower_limit", "upper_limit"))):
        expected = stats.bootstrap(
            (values,), np.mean, axis=1, n_resamples=999, confidence_level=level,
            method="BCa", batch=256, rng=np.random.default_rng(3),
        ).confidence_interval  # fmt: skip
        for i, interval in enumerate(found):
            limits = [getattr(interval, name) for name in names]
            assert limits == pytest.approx([expected.low[i], expected.high[i]])


def test_a_difference_of_means_is_covered_and_has_its_symmetries() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        first, second = rng.gamma(2, size=(1, 40, 1)), rng.gamma(1, size=(1, 40, 1))
        first[:, 25:], second[:, :20] = np.nan, np.nan  # five clusters are on both sides
        ((one,),) = difference_of_means(first, second, 0.95, 199, rng)
        covered += one.low <= 1 <= one.high
        assert one.effect == pytest.approx(np.nanmean(first) - np.nanmean(second))
    assert covered >= 0.88 * 200
    large = rng.normal(size=(2, 1200, 1))
    both = difference_of_means(large, large[::-1], 0.95, 99, rng)
    assert both[0][0].effect == pytest.approx(-both[1][0].effect)
    assert both[0][0].low == pytest.approx(-both[1][0].high)
    narrow = difference_of_means(
        np.tile(large, (1, 4, 1)), np.tile(large[::-1], (1, 4, 1)), 0.95, 99, rng
    )
    width = [i[0][0].high - i[0][0].low for i in (both, narrow)]
    assert width[1] == pytest.approx(width[0] / 2, rel=0.01)
