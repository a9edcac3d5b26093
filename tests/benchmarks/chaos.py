"""Kill an audit a hundred times and fill its disk twenty times; start it again each time.

``python -m tests.benchmarks.chaos [--kills 100] [--errors 20] [--seed 0]``: 9 minutes on two
cores. Moments are uniform over the duration of an undisturbed run, except for every third kill,
which falls between a write and its rename. It stops at the first run that is not whole in the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from tests.flows.chaos import Ending, Fault, Survival, launcher, survive
from tests.tiny import write_tiny

LIMITS = (2_000, 3_000, 50_000, 1_000_000)  # bytes: a table, the state of training, the report


def faults(kills: int, errors: int, seed: int, undisturbed: Ending) -> list[Fault]:
    """Faults at random moments, the same for a seed but for the duration."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(kills):
        if i % 3 == 2:
            found.append(Fault("kill at rename", int(rng.integers(1, undisturbed.renames + 1))))
        else:
            found.append(Fault("kill", float(rng.uniform(0, undisturbed.seconds))))
    for i in range(errors):
        if i < len(LIMITS):
            found.append(Fault("limit", LIMITS[i]))
        elif i % 2:
            found.append(Fault("full at rename", int(rng.integers(1, undisturbed.renames + 1))))
        else:
            found.append(Fault("full at sync", int(rng.integers(1, undisturbed.syncs + 1))))
    return found


def main() -> None:
    """Print how many faults fell in which stage, and what became of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--errors", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_tiny(folder / "data")
        with launcher(config, os.environ) as launched:
            launched.start(folder / "first")  # caches are filled
            ending = launched.start(folder / "undisturbed")
            survivals = []
            drawn = faults(options.kills, options.errors, options.seed, ending)
            for i, fault in enumerate(drawn):
                out = folder / "runs" / str(i) / "run"
                survivals.append((fault, survive(launched, out, fault, folder / "undisturbed")))
                print(f"{i + 1} of {len(drawn)}: {fault}", file=sys.stderr, flush=True)
    _print(survivals, ending)


def _print(survivals: list[tuple[Fault, Survival]], undisturbed: Ending) -> None:
    kinds = list(dict.fromkeys(fault.kind for fault, _ in survivals))
    fell = Counter((survival.stage, fault.kind) for fault, survival in survivals)
    stages = sorted({stage for stage, _ in fell})
    print("| fell in | " + " | ".join(kinds) + " |")
    print("| --- |" + " ---: |" * len(kinds))
    for stage in stages:
        print(f"| {stage} | " + " | ".join(str(fell[stage, kind]) for kind in kinds) + " |")
    told = sum(survival.first.status == 2 for _, survival in survivals)
    killed = sum(survival.first.status == -9 for _, survival in survivals)
    print(
        f"\n{len(survivals)} faults, {killed} killed, {told} stopped with one line, "
        f"{len(survivals) - killed - told} were done before; {len(survivals)} restarts finished, "
        "with the tables, findings and verdict of the undisturbed run, every sample once, no "
        f"finished shard computed again. The undisturbed run: {undisturbed.seconds:.1f} s, "
        f"{undisturbed.renames} renames, {undisturbed.syncs} flushes."
    )


if __name__ == "__main__":
    main()
