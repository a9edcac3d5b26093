"""The fit against known lines, the projection against its closed form."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.cost_model import EXPLAIN, INTERVENE, LOAD, Line, Model, fit, project

MODEL = Model(
    {
        "prepare": Line(1.0, 0.01),
        "judge": Line(5.0, 0.0),
        LOAD: Line(2.0, 0.001),
        EXPLAIN: Line(0.5, 0.1),
        INTERVENE: Line(0.0, 0.2),
    },
    most_altered=300,
)


def test_a_line_is_found_and_its_error_is_that_of_the_residuals() -> None:
    line = fit([1.0, 2.0, 4.0], [5.0, 7.0, 11.0])
    assert (line.fixed, line.each) == (pytest.approx(3), pytest.approx(2))
    assert line.error == pytest.approx(0, abs=1e-12)
    bent = fit([0.0, 1.0, 2.0], [1.0, 0.0, 1.0])  # residuals 1/3, -2/3, 1/3
    assert (bent.fixed, bent.each) == (pytest.approx(2 / 3), pytest.approx(0, abs=1e-12))
    assert bent.error == pytest.approx(np.sqrt(2 / 9))


def test_no_cost_is_below_zero() -> None:
    assert fit([1.0, 2.0, 3.0], [0.0, 2.0, 4.0]) == fit([1.0, 2.0, 3.0], [0.0, 2.0, 4.0])
    through = fit([1.0, 2.0], [0.5, 2.0])
    assert (through.fixed, through.each) == (0.0, pytest.approx(4.5 / 5))
    falling = fit([1.0, 2.0], [3.0, 1.0])
    assert (falling.fixed, falling.each) == (pytest.approx(2.0), 0.0)


@pytest.mark.parametrize("samples", [100, 1000])
@pytest.mark.parametrize("workers", [1, 8])
def test_the_projection_is_amdahls(samples: int, workers: int) -> None:
    found = project(MODEL, samples, workers)
    altered = min(samples, 300)
    driver = 1 + 0.01 * samples + 5
    loading = 3 * (2 + 0.001 * samples)
    shards = 0.5 + (0.1 * samples + 0.2 * altered) / workers
    assert found.total == pytest.approx(driver + loading + shards)
    assert found.serial == pytest.approx((driver + loading) / (driver + loading + shards))


def test_what_dominates_is_named() -> None:
    assert project(MODEL, 1000, 1).dominant == "shards"
    assert project(MODEL, 100_000, 10**9).dominant == "prepare"
