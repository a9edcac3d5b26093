"""The permutation test of clusters against all orders, and against Fisher where it must agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit.discovery.associations import events_of, permutation_p
from tests.evidence.planted import some_examples
from tests.oracles import discovery as oracle

RESAMPLES = 4999


def p_of(member: np.ndarray, event: np.ndarray, clusters: np.ndarray, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    return float(permutation_p(member, event[:, None], clusters, RESAMPLES, rng)[0])


@pytest.mark.parametrize("seed", range(6))
def test_p_is_that_of_all_orders_of_the_clusters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(6), rng.integers(0, 6, 8)])
    member, event = rng.integers(0, 2, (2, 14)).astype(float)
    exact = oracle.permutation_p(member, event, clusters)
    error = np.sqrt(exact * (1 - exact) / RESAMPLES)
    assert p_of(member, event, clusters) == pytest.approx(exact, abs=4 * error + 2 / RESAMPLES)


def test_single_samples_give_fishers_test_of_a_balanced_table() -> None:
    member = np.repeat([1.0, 0.0], 10)  # equal margins: the two-sided tails are the same tables
    event = np.r_[np.repeat([1.0, 0.0], [8, 2]), np.repeat([1.0, 0.0], [2, 8])]
    exact = stats.fisher_exact([[8, 2], [2, 8]]).pvalue
    assert p_of(member, event, np.arange(20)) == pytest.approx(exact, abs=0.005)


@some_examples
@given(st.integers(0, 2**32 - 1), st.integers(4, 30))
def test_p_is_symmetric_in_labels_and_blind_to_what_does_not_vary(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, max(2, n // 2), n)
    member, event = rng.integers(0, 2, (2, n)).astype(float)
    p = p_of(member, event, clusters)
    assert 1 / (RESAMPLES + 1) <= p <= 1
    assert p_of(1 - member, event, clusters) == pytest.approx(p)
    assert p_of(member, 1 - event, clusters) == pytest.approx(p)
    assert p_of(member, np.ones(n), clusters) == 1
    assert p_of(np.zeros(n), event, clusters) == 1


def test_pictures_of_one_cluster_are_no_new_evidence() -> None:
    member, event = np.array([1.0, 1, 0, 0]), np.array([1.0, 1, 0, 0])
    once = p_of(member, event, np.arange(4))
    often = p_of(np.repeat(member, 50), np.repeat(event, 50), np.repeat(np.arange(4), 50))
    assert often == once


def test_events_are_errors_and_the_subgroups_with_enough_samples() -> None:
    frame = pd.DataFrame({"attribute:x": ["a"] * 6 + ["b"] * 5 + ["c"]})
    wrong = np.arange(12) % 2.0
    names, events = events_of(frame, wrong, {"x": "attribute:x"}, fewest=5)
    assert names == [("*", "wrong"), ("x", "a"), ("x", "b")]
    assert events.sum(0).tolist() == [6, 6, 5]
