"""What shards and Prefect add to an audit: 5,000 samples directly and through Prefect.

``python -m tests.benchmarks.overhead [--samples 5000] [--rounds 3]``

The same few tiny pictures in many rows, a loaded model, no checks of the explainer and no
discovery: next to real pictures this is the hardest case for what is not compute. Each audit is a
process of its own, in shards of 5,000 (one), 256 and 64, in an order that turns from round to
round. Prints minimum and median of seconds and processor seconds (which count the server's, and not
other processes'), the fixed cost of a shard by least squares, and what shards of 256 add to one
shard: directly, and through Prefect with and without the start of its server. Exits 1 if without it
Prefect and shards add more than 5 % of the seconds, so nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np

from tests.benchmarks.judge_memory import Spent, spent_by
from tests.benchmarks.memory import prepare

LIMIT = 0.05
SHARD_SIZES = (5_000, 256, 64)
RUNNERS = ("direct", "prefect")

Way = tuple[str, int]  # runner, number of shards


@dataclass(frozen=True)
class Overhead:
    """What is added to an audit that runs directly in one shard of its samples.

    Attributes
    ----------
    shards
        Part that a shard each 256 samples adds directly.
    start
        Seconds that Prefect adds to one shard.
    without_start, with_start
        Part that Prefect and shards add, less the start, and in all.
    """

    shards: float
    start: float
    without_start: float
    with_start: float


def overhead(took: Mapping[Way, float], few: int) -> Overhead:
    """From the seconds of the four ways: either runner, one shard or ``few``."""
    bare, start = took["direct", 1], took["prefect", 1] - took["direct", 1]
    whole = took["prefect", few]
    return Overhead(
        shards=took["direct", few] / bare - 1,
        start=start,
        without_start=(whole - start) / bare - 1,
        with_start=whole / bare - 1,
    )


def milliseconds_per_shard(took: Mapping[Way, float], runner: str) -> float:
    """Slope of the seconds against the number of shards."""
    points = [(shards, seconds) for (by, shards), seconds in took.items() if by == runner]
    return 1000 * float(np.polyfit(*zip(*points, strict=True), 1)[0])


def config_of(folder: Path, count: int, shard_size: int) -> Path:
    """The audit, in shards of a size."""
    config = prepare(folder, count)
    text = config.read_text().replace("shard_size: 256", f"shard_size: {shard_size}")
    config.write_text(text + "checks: {enabled: false}\ndiscovery: {enabled: false}\n")
    return config


def ways(count: int) -> list[Way]:
    """Runner and number of shards."""
    return list(product(RUNNERS, (-(-count // size) for size in SHARD_SIZES)))


def measure(configs: Sequence[Path], count: int, rounds: int) -> dict[Way, list[Spent]]:
    """Audits in turn; before the first, one through Prefect whose server makes its database."""
    options = {"direct": ["--no-prefect"], "prefect": []}
    plan = dict(zip(ways(count), product(RUNNERS, configs), strict=True))
    found: dict[Way, list[Spent]] = {way: [] for way in plan}
    order = list(plan)
    for turn in range(-1, rounds):
        for way in order[:1] if turn < 0 else order[turn:] + order[:turn]:
            runner, config = ("prefect", configs[0]) if turn < 0 else plan[way]
            with tempfile.TemporaryDirectory() as out:
                command = [sys.executable, "-m", "flows", "run", str(config), "--quiet"]
                spent = spent_by([*command, *options[runner], "--out", f"{out}/run"])
            if turn >= 0:
                found[way].append(spent)
    return found


def least(found: Mapping[Way, Sequence[Spent]], unit: str) -> dict[Way, float]:
    """The smallest of each way: other processes only add."""
    return {way: min(getattr(one, unit) for one in spent) for way, spent in found.items()}


def main() -> None:
    """Measure, print, assert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["PREFECT_HOME"] = str(Path(name) / "prefect")
        configs = []
        for size in SHARD_SIZES:
            (folder := Path(name) / str(size)).mkdir()
            configs.append(config_of(folder, options.samples, size))
        found = measure(configs, options.samples, options.rounds)
    for (runner, shards), spent in found.items():
        for unit in ("seconds", "cpu"):
            values = [getattr(one, unit) for one in spent]
            told = f"min {min(values):6.2f}  median {median(values):6.2f}"
            print(f"{runner:8} {shards:>3} shards  {unit:8} {told}", flush=True)
    few = -(-options.samples // 256)
    added = {unit: overhead(least(found, unit), few) for unit in ("seconds", "cpu")}
    for unit, of in added.items():
        slopes = {by: milliseconds_per_shard(least(found, unit), by) for by in RUNNERS}
        told = ", ".join(f"{by} {slope:.0f} ms" for by, slope in slopes.items())
        print(
            f"{unit:8} a shard costs: {told}. {few} shards add {of.shards:+.1%}; with Prefect "
            f"{of.without_start:+.1%}, and {of.with_start:+.1%} with its start of {of.start:.1f} s"
        )
    if added["seconds"].without_start > LIMIT:
        print(f"missed: Prefect and shards add more than {LIMIT:.0%}; was the machine quiet?")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
