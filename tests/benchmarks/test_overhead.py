"""What is added is told from planted times of a known make-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.config_file import load_config
from tests.benchmarks.overhead import config_of, milliseconds_per_shard, overhead, ways


def test_the_parts_of_planted_times_are_found() -> None:
    cost = {"direct": 0.05, "prefect": 0.1}  # seconds a shard
    took = {
        (runner, shards): 50 + cost[runner] * shards + (8 if runner == "prefect" else 0)
        for runner, shards in ways(5_000)
    }
    assert {shards for _, shards in took} == {1, 20, 79}
    found = overhead(took, 20)
    bare = 50.05
    assert found.shards == pytest.approx(19 * 0.05 / bare)
    assert found.start == pytest.approx(8.05)
    assert found.without_start == pytest.approx(19 * 0.1 / bare)
    assert found.with_start == pytest.approx((8.05 + 19 * 0.1) / bare)
    assert milliseconds_per_shard(took, "direct") == pytest.approx(50)
    assert milliseconds_per_shard(took, "prefect") == pytest.approx(100)


def test_the_audit_is_cut_into_shards_of_the_size(tmp_path: Path) -> None:
    config = load_config(config_of(tmp_path, 40, 64))
    assert config.execution.shard_size == 64
    assert not (config.checks.enabled or config.discovery.enabled)
    assert config.model.checkpoint is not None
