"""Two-way tables of clusters, against loops, closed forms and exact enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit.evidence.contingency import (
    Crossing,
    cramers_v,
    cross,
    mean_square_contingency,
    mutual_information,
    permutation_p,
)
from audit.evidence.signflip import generator
from tests.evidence.planted import some_examples
from tests.oracles import association as oracle

SHAPE = (3, 4)
rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)), min_size=3, max_size=30
)
Rows = list[tuple[int, int, int]]


def crossing(some: Rows, shape: tuple[int, int] = SHAPE) -> Crossing:
    label, factor, clusters = np.array(some, dtype=np.intp).T
    return cross(label, factor, clusters, shape)


def of_table(table: list[list[int]]) -> Crossing:
    """Clusters of one sample each."""
    some = [(i, j) for i, line in enumerate(table) for j, count in enumerate(line)
            for _ in range(count)]  # fmt: skip
    alone = [(i, j, number) for number, (i, j) in enumerate(some)]
    return crossing(alone, (len(table), len(table[0])))


@given(rows)
@some_examples
def test_every_cluster_adds_one_to_the_table(some: Rows) -> None:
    found = crossing(some)
    label, factor, clusters = zip(*some, strict=True)
    np.testing.assert_allclose(
        found.total, oracle.clustered_table(label, factor, clusters, SHAPE), atol=1e-9
    )
    assert found.clusters == len(set(clusters)) == pytest.approx(found.total.sum())


@given(rows)
@some_examples
def test_phi_v_and_information_are_those_of_the_definitions(some: Rows) -> None:
    found = crossing(some)
    table = found.total
    tables = [table, *(oracle.against_rest(table, i) for i in range(3))]
    np.testing.assert_allclose(
        mean_square_contingency(table), [oracle.phi_squared(t) for t in tables], atol=1e-9
    )
    np.testing.assert_allclose(
        mutual_information(table), [oracle.information(t) for t in tables], atol=1e-9
    )
    if found.clusters >= 4 and (table.sum(0) > 0).sum() > 1:
        n = found.clusters
        effects = [one.effect for one in cramers_v(found, 0.95, 99, generator(0))]
        expected = [oracle.bergsma_v(t, n) if (t.sum(1) > 0).sum() > 1 else 0.0 for t in tables]
        np.testing.assert_allclose(effects, expected, atol=1e-6)


def test_it_is_scipys_association_of_a_plain_table() -> None:
    table = np.array([[30, 12, 8], [9, 25, 40]])
    v = math.sqrt(mean_square_contingency(table.astype(float))[0])
    assert v == pytest.approx(stats.contingency.association(table, method="cramer"))


def test_information_is_none_at_independence_and_all_where_one_tells_the_other() -> None:
    assert mutual_information(np.outer([1.0, 2.0, 3.0], [4.0, 5.0])) == pytest.approx(0, abs=1e-12)
    shares = np.array([0.5, 0.25, 0.25])
    assert mutual_information(np.diag(shares))[0] == pytest.approx(1.5)  # the entropy


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=2, max_size=7))
@some_examples
def test_p_is_that_of_all_orders(pairs: list[tuple[int, int]]) -> None:
    label, factor = zip(*pairs, strict=True)
    found = crossing([(i, j, n) for n, (i, j) in enumerate(pairs)], (2, 3))
    exact = oracle.exact_p(label, factor, (2, 3))
    p = permutation_p(found, 4999, generator(1))[0]
    assert p == pytest.approx(exact, abs=5 * math.sqrt(0.25 / 5000) + 1 / 5000)


def test_p_is_pearsons_in_large_tables() -> None:
    table = [[60, 40], [45, 55]]
    ours = permutation_p(of_table(table), 19999, generator(0))
    theirs = stats.chi2_contingency(
        table, correction=False, method=stats.PermutationMethod(n_resamples=19999, rng=generator(2))
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.01)


def test_clusters_stay_whole() -> None:
    """Ten pictures of each of 12 people are 12 observations, not 120."""
    people = [(i % 2, int(i % 2 == 0 or i == 1), i) for i in range(12)]
    once, tenfold = crossing(people, (2, 2)), crossing(people * 10, (2, 2))
    for one, many in zip(
        cramers_v(once, 0.95, 999, generator(0)), cramers_v(tenfold, 0.95, 999, generator(0)),
        strict=True,
    ):  # fmt: skip
        assert one == many
    np.testing.assert_array_equal(
        permutation_p(once, 999, generator(0)), permutation_p(tenfold, 999, generator(0))
    )


def test_association_inside_clusters_is_found_and_uniform_without() -> None:
    paired = [(i % 2, i % 2, i // 2) for i in range(24)]  # both labels and levels in each cluster
    assert permutation_p(crossing(paired, (2, 2)), 999, generator(0))[0] == pytest.approx(0.002)
    rng = np.random.default_rng(0)
    found = []
    for seed in range(120):
        some = [(int(rng.integers(2)), int(rng.integers(2)), i // 4) for i in range(48)]
        found.append(permutation_p(crossing(some, (2, 2)), 199, generator(seed))[0])
    assert np.mean(np.array(found) <= 0.05) < 0.12


def test_p_is_uniform_without_association() -> None:
    rng = np.random.default_rng(5)
    found = []
    for seed in range(300):
        label, level = rng.integers(0, 2, 40), rng.integers(0, 4, 40)  # clusters of 3
        some = [(int(a), int(b), i) for i, (a, b) in enumerate(zip(label, level, strict=True))] * 3
        found.append(permutation_p(crossing(some, (2, 4)), 199, generator(seed))[0])
    assert stats.kstest(found, "uniform").pvalue > 0.01


@given(rows, st.randoms(use_true_random=False))
@some_examples
def test_order_and_names_of_labels_do_not_matter(some: Rows, random: object) -> None:
    mixed = list(some)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    first, second = (cramers_v(crossing(x), 0.95, 99, generator(0)) for x in (some, mixed))
    np.testing.assert_array_equal([vars(a) for a in first], [vars(b) for b in second])
    swapped = crossing([(2 - i, j, c) for i, j, c in some])
    np.testing.assert_allclose(
        mean_square_contingency(swapped.total)[[0, 3, 2, 1]],
        mean_square_contingency(crossing(some).total),
        atol=1e-12,
    )


def test_more_clusters_make_the_interval_narrower() -> None:
    widths = []
    for n in (1, 4, 16):
        found = cramers_v(of_table([[12 * n, 8 * n], [6 * n, 14 * n]]), 0.95, 999, generator(0))[0]
        assert found.low <= found.lower_limit <= found.effect <= found.upper_limit <= found.high
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("v", [0.0, 0.3, 0.7])
def test_limits_cover(v: float) -> None:
    rng = np.random.default_rng(int(10 * v))
    shares = np.array([1 + v, 1 - v, 1 - v, 1 + v]) / 4
    missed = np.zeros(2)
    for seed in range(200):
        counts = rng.multinomial(120, shares).reshape(2, 2).tolist()
        found = cramers_v(of_table(counts), 0.95, 399, generator(seed))[0]
        missed += [found.lower_limit > v, found.upper_limit < v]
    assert (missed / 200 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)).all()


def test_one_cluster_has_no_interval() -> None:
    found = cramers_v(crossing([(0, 0, 5), (1, 1, 5)], (2, 2)), 0.95, 99, generator(0))
    assert all(math.isnan(one.low) for one in found)
