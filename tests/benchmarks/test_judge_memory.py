"""The large run is one that can be merged and judged; a limit that is missed is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit import steps
from audit.gate import Verdict
from audit.tables import ATTENTION, MAPS, read_table
from tests.benchmarks.judge_memory import BYTES_PER_ROW, PEAK_MIB, growth, missed
from tests.benchmarks.large_run import ROWS, SHARD, write_run


def test_what_it_plants_is_found(tmp_path: Path) -> None:
    count = 2 * SHARD + 1
    run = write_run(tmp_path / "run", count, resamples=199)
    steps.merge(run)
    steps.judge(run)
    assert len(read_table(run.table("attention"), ATTENTION)) == ROWS * count
    assert len(read_table(run.table("maps"), MAPS)) == 2 * count
    verdict = Verdict.read(run.verdict)
    assert (verdict.verdict, verdict.counts["CONFIRMED"]) == ("FAIL", 2)


def test_growth_is_the_slope() -> None:
    assert growth([0, 2**20, 3 * 2**20], [5.0, 7.0, 11.0]) == pytest.approx(2.0)


def test_a_limit_that_is_missed_is_named() -> None:
    rows = [0, 2**20]
    kept = [PEAK_MIB - BYTES_PER_ROW, PEAK_MIB - 1]
    assert missed(rows, {"merge": kept, "judge": kept}) == []
    (one,) = missed(rows, {"merge": kept, "judge": [PEAK_MIB, PEAK_MIB + 1]})
    assert one.startswith("judge:")
    assert "MiB" in one
    (one,) = missed(rows, {"merge": [0.0, BYTES_PER_ROW + 1]})
    assert "bytes per row" in one
