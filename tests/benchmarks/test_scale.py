"""Time inside time is counted once; the fit of planted costs predicts another size of them."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.benchmarks import scale
from tests.benchmarks.cost_model import EXPLAIN, INTERVENE
from tests.benchmarks.scale import Clock, bounded, model_of, predicted


def test_what_is_timed_inside_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(scale.time, name, lambda: float(next(ticks)))
    monkeypatch.setattr(scale, "reset_peak", lambda: None)
    monkeypatch.setattr(scale, "peak_mib", lambda: 7.0)
    clock = Clock()
    inner = clock.timed("inner", lambda: 1)
    outer = clock.timed("outer", lambda: inner() + inner())
    assert outer() == 2
    # 12 readings: the outer's first two are 0 and 1, its last two 10 and 11
    assert clock.costs["inner"]["seconds"] == 2 + 2
    assert clock.costs["outer"]["seconds"] == 10 - 4
    assert clock.costs["outer"]["peak"] == 7.0


def test_a_stage_that_fails_is_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "reset_peak", lambda: None)
    clock = Clock()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        clock.timed("stage", fail)()
    assert clock.costs["stage"]["seconds"] >= 0


def planted(samples: int) -> dict[str, Any]:
    altered = min(samples, 4_948)
    costs = {EXPLAIN: 1 + 2e-3 * samples, INTERVENE: 3e-3 * altered, "judge": 2 + 1e-4 * samples}
    costs |= dict.fromkeys(scale.BOUNDED, 5.0 if samples > 512 else 1.0)
    costs = {name: {"seconds": value} for name, value in costs.items()}
    return {"samples": samples, "altered": altered, "costs": costs}


def test_the_fit_of_two_sizes_predicts_the_third() -> None:
    small, middle, large = map(planted, (1_000, 5_000, 20_000))
    model = model_of([small, middle], most_altered=4_948)
    found = predicted(model, large)
    for name in (EXPLAIN, INTERVENE, "judge"):
        assert found[name] == pytest.approx(large["costs"][name]["seconds"])
    for line in bounded([small, middle, large]).values():
        assert (line.at(1e7), line.each) == (5.0, 0.0)
