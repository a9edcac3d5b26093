"""The normal form and the drawn subsets against all exchanges, and against permuting."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from audit.evidence import subgroup_exchange
from audit.evidence.permutation import Subset
from audit.evidence.subgroup_exchange import exchange_p, exchanged, normal_p


def test_the_normal_form_has_mean_and_variance_of_all_exchanges() -> None:
    rng = np.random.default_rng(0)
    blocks = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    units, weights = rng.normal(size=(2, 8)), rng.normal(size=(8, 3))
    within = [np.flatnonzero(blocks == block) for block in range(3)]
    orders = [np.concatenate(parts) for parts in product(*(permutations(b) for b in within))]
    every = np.stack([units[:, order] @ weights for order in orders])
    mean, error, seen = every.mean(axis=0), every.std(axis=0), np.abs(units @ weights)
    expected = stats.norm.sf((seen - mean) / error) + stats.norm.cdf((-seen - mean) / error)
    assert_allclose(normal_p(units, weights, blocks), expected, rtol=1e-9)


def test_where_nothing_can_change_places_p_is_1() -> None:
    weights = np.array([[0.5], [-0.5]])
    assert normal_p(np.array([[1.0, 2.0]]), weights, np.array([0, 1])) == [[1.0]]


@pytest.mark.parametrize("mixed", [False, True])
def test_large_subgroups_have_the_p_of_permuting(
    mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(300), 2)
    levels = np.where(clusters < 120, 0, np.where(clusters < 280, 1, 2))
    if mixed:
        levels[:80] = np.arange(80) % 2
    values = rng.normal(size=(2, 300))[:, clusters] + rng.exponential(size=(2, 600))
    values[0] += 0.25 * (levels == 1)
    arguments = (values, levels, clusters)
    permuted = exchange_p(*arguments, np.random.default_rng(2), 9999, 9999)
    monkeypatch.setattr(subgroup_exchange, "NORMAL", 100)
    found = exchange_p(*arguments, np.random.default_rng(3), 9999, 9999)
    assert 1e-4 < permuted.min() < 0.1
    assert_allclose(found, permuted, atol=0.015)
    small = exchanged(*arguments)[1].shape[1] - 1
    assert (found[:, small] * 10_000 == np.round(found[:, small] * 10_000)).all()  # was permuted


@pytest.mark.parametrize("others", [1, 2])
def test_a_small_subgroup_of_a_large_class_is_drawn_not_permuted(
    others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    clusters = np.arange(900)
    levels = np.where(clusters < 12, 0, 1 + clusters % others)
    values = rng.exponential(size=(2, 900))
    values[0, :12] += 0.5
    arguments = (values, levels, clusters)
    permuted = exchange_p(*arguments, np.random.default_rng(5), 9999, 9999)
    monkeypatch.setattr(subgroup_exchange, "NORMAL", 400)
    monkeypatch.setattr(subgroup_exchange, "MANY", 900)
    drawn = exchange_p(*arguments, np.random.default_rng(6), 9999, 9999)
    assert 1e-3 < permuted[0, 0] < 0.3
    assert_allclose(drawn[:, 0], permuted[:, 0], atol=0.015)


def test_no_p_is_below_what_permuting_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subgroup_exchange, "NORMAL", 10)
    levels = np.arange(60) % 2
    p = exchange_p(levels[None] * 9.0, levels, np.arange(60), np.random.default_rng(0), 99, 999)
    assert (p == 1 / 1000).all()


def test_every_subset_is_as_likely() -> None:
    drawn = Subset(5, 2).permutations(4000, np.random.default_rng(0))
    _, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    assert counts.size == 10
    assert stats.chisquare(counts).pvalue > 0.001
