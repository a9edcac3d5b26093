from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit.evidence.signflip import generator, sign_flip_p
from tests.evidence.planted import some_examples
from tests.oracles import statistics as oracle

values = st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 5)), min_size=1, max_size=10)


@given(values)
@some_examples
def test_few_clusters_are_enumerated(rows: list[tuple[int, int]]) -> None:
    numbers, clusters = ([float(v) for v, _ in rows], [c for _, c in rows])
    found = sign_flip_p(np.array(numbers), np.array(clusters), 999, generator(0))
    assert found == pytest.approx(oracle.sign_flip(numbers, clusters), abs=1e-12)


def test_many_clusters_are_sampled_close_to_the_exact_p() -> None:
    drops = np.random.default_rng(0).normal(0.25, 1, 16)
    exact = oracle.sign_flip(drops.tolist(), list(range(16)))
    sampled = sign_flip_p(drops, np.arange(16), 19999, generator(1))
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 19999))


def test_it_is_the_permutation_test_of_one_sample() -> None:
    drops = np.random.default_rng(3).normal(0.2, 1, 60)
    theirs = stats.permutation_test(
        (drops,), np.mean, permutation_type="samples", alternative="greater", vectorized=True,
        n_resamples=9999, rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    ours = sign_flip_p(drops, np.arange(60), 9999, generator(0))
    assert ours == pytest.approx(theirs, abs=4 * math.sqrt(2 * theirs * (1 - theirs) / 9999))


def test_batches_do_not_matter_to_the_number_of_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    strong = np.full(40, 1.0)
    monkeypatch.setattr("audit.evidence.signflip._BATCH_CELLS", 40 * 7)
    assert sign_flip_p(strong, np.arange(40), 99, generator(0)) == 1 / 100


def test_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(7)
    found = []
    for i in range(300):
        clusters = np.repeat(np.arange(25), 3)
        drops = rng.normal(size=25)[clusters] + rng.normal(size=75)
        found.append(sign_flip_p(drops, clusters, 199, generator(i)))
    assert stats.kstest(found, "uniform").pvalue > 0.01
    # samples taken as independent would be found guilty far too often
    assert np.mean(np.array(found) < 0.05) < 0.09


def test_missing_values_have_no_p() -> None:
    assert math.isnan(sign_flip_p(np.array([1.0, math.nan]), np.arange(2), 99, generator(0)))
    assert math.isnan(sign_flip_p(np.array([1.0, math.inf]), np.arange(2), 99, generator(0)))
    assert math.isnan(sign_flip_p(np.array([]), np.array([], int), 99, generator(0)))


def test_no_change_at_all_is_no_evidence() -> None:
    assert sign_flip_p(np.zeros(50), np.arange(50), 199, generator(0)) == 1


def test_generators_are_named() -> None:
    draws = [generator(0, *names).random() for names in (("a", "b"), ("a", "b"), ("ab", ""))]
    assert draws[0] == draws[1] != draws[2]
    assert generator(1, "a", "b").random() != draws[0]
