from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from audit.evidence import exchange as module
from audit.evidence.exchange import exchange, keep_rate
from audit.evidence.intervals import Floats
from tests.evidence.planted import some_examples
from tests.oracles import statistics as oracle


def pictures(
    n: int, core: float, rest: float, *, seed: int = 0, k: int = 2, noise: float = 1.0
) -> tuple[Floats, Floats]:
    """Logits of pictures whose core and rest speak for their class, in parts that add up."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % k
    says = np.eye(k)[label]
    of_core = core * (4 * says + noise * rng.normal(size=(n, k)))
    of_rest = rest * (4 * says + noise * rng.normal(size=(n, k)))
    return of_core + of_rest, of_rest


def rate_of(before: Floats, after: Floats, clusters: np.ndarray | None = None) -> float:
    alone = np.arange(len(before)) if clusters is None else clusters
    found = exchange(before, after, alone, np.random.default_rng(0))
    assert found is not None
    return found.rate


@given(st.integers(0, 10_000), st.integers(2, 3), st.integers(8, 24))
@some_examples
def test_it_is_the_loop_over_all_other_pictures(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(2, n, k))
    clusters = rng.integers(0, n, n)
    found = exchange(before, after, clusters, rng)
    try:
        expected = oracle.exchanged(before.tolist(), after.tolist(), clusters.tolist())
    except ZeroDivisionError:  # a class without a picture, or a picture without a partner
        assert found is None
        return
    assert found is not None
    assert_allclose(found.rate, expected)


@pytest.mark.parametrize("k", [2, 3])
def test_core_alone_is_chance_and_rest_alone_keeps_every_answer(k: int) -> None:
    assert_allclose(rate_of(*pictures(300, 1, 0, k=k)), 1 / k, atol=0.01)
    assert_allclose(rate_of(*pictures(300, 0, 1, k=k)), 1, rtol=1e-12)


def test_half_and_half_is_in_between() -> None:
    assert 0.7 < rate_of(*pictures(400, 1, 1)) < 0.8


def test_what_hiding_does_to_all_alike_changes_nothing() -> None:
    # the answers to the hidden pictures themselves would all be the first class
    before, after = pictures(200, 1, 1)
    shifted = after + np.array([50.0, 0.0])
    assert (shifted.argmax(1) == 0).all()
    assert rate_of(before, shifted) == rate_of(before, after)


def test_a_trace_in_the_rest_is_no_reliance() -> None:
    # its sign alone would tell the classes apart without fail
    before, after = pictures(300, 1, 0.001, noise=0.1)
    assert ((after[:, 0] > after[:, 1]) == (np.arange(300) % 2 == 0)).all()
    assert rate_of(before, after) < 0.51


def test_undefined_without_every_answer_or_with_a_missing_logit() -> None:
    before, after = pictures(40, 1, 1)
    rng, one_each = np.random.default_rng(0), np.arange(40)
    assert exchange(before[::2], after[::2], one_each[::2], rng) is None
    assert exchange(before[:0], after[:0], one_each[:0], rng) is None
    assert exchange(before, after, np.zeros(40, int), rng) is None
    broken = after.copy()
    broken[3, 1] = np.nan
    assert exchange(before, broken, one_each, rng) is None


def test_many_pictures_borrow_from_some(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = pictures(600, 1, 1, noise=3)
    whole = rate_of(before, after)
    monkeypatch.setattr(module, "PARTNERS", 200)
    some = exchange(before, after, np.arange(600), np.random.default_rng(1))
    assert some is not None
    assert (some.partner_weights > 0).sum() == 200
    assert abs(some.rate - whole) < 0.05
    assert_allclose(some.parts().sum(), 0, atol=1e-12)


def test_an_interval_is_never_narrower_than_that_of_one_picture_a_cluster() -> None:
    before, after = pictures(120, 0, 1)
    found = exchange(before, after, np.arange(120), np.random.default_rng(0))
    assert found is not None
    interval = keep_rate(found, np.arange(120), 0.95)
    assert (interval.effect, interval.high) == (1, 1)
    assert 0.95 < interval.low < 0.98  # Wilson of 120 of 120 is 0.969


@pytest.mark.parametrize(("core", "rest"), [(1.0, 0.2), (1.0, 1.0), (0.3, 1.0)])
@pytest.mark.parametrize("size", [1, 4])
def test_coverage(core: float, rest: float, size: int) -> None:
    truth = rate_of(*pictures(4000, core, rest, seed=99, noise=4))
    runs, above, below = 60, 0, 0
    for seed in range(runs):
        before, after = pictures(80, core, rest, seed=seed, noise=4)
        before, after = np.repeat(before, size, axis=0), np.repeat(after, size, axis=0)
        clusters = np.repeat(np.arange(80), size)
        found = exchange(before, after, clusters, np.random.default_rng(0))
        assert found is not None
        interval = keep_rate(found, clusters, 0.95)
        above += interval.upper_limit >= truth
        below += interval.lower_limit <= truth
    # three standard errors of 95 % coverage in 60 runs are 8.4 points
    assert min(above, below) / runs > 0.95 - 0.085
