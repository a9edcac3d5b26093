"""What merging and judging hold in memory, and how that grows with the attention table.

``python -m tests.benchmarks.judge_memory [--samples 15625 62500 250000]``

Writes runs whose shards are measured (:mod:`tests.benchmarks.large_run`: 8 rows of attention for
each sample, every sample a cluster), then merges and judges each in a process of its own. Prints
peak memory of the process (with all its imports), seconds and processor seconds, and the growth
per row by least squares. Exits 1 if a peak of the largest run or a growth is above its limit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.large_run import ROWS

PEAK_MIB = 1536.0  # of which torch and other imports take some 850
BYTES_PER_ROW = 150.0
STAGES = ("merge", "judge")
_WRITE = (
    "import sys; from pathlib import Path; from tests.benchmarks.large_run import write_run; "
    "write_run(Path(sys.argv[1]), int(sys.argv[2]))"
)
_STAGE = (
    "import sys; from pathlib import Path; from audit import steps; "
    "from audit.runs.folder import Run; getattr(steps, sys.argv[1])(Run(Path(sys.argv[2])))"
)


@dataclass(frozen=True)
class Spent:
    """What a process took: peak memory in MiB, seconds, processor seconds."""

    peak: float
    seconds: float
    cpu: float


def spent_by(command: Sequence[str]) -> Spent:
    """Run a command to its end.

    Its peak counts that of this process at the start too, so keep this one small.

    Raises
    ------
    SystemExit
        If it fails.
    """
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    elapsed = time.monotonic() - started
    return Spent(usage.ru_maxrss / 1024, elapsed, usage.ru_utime + usage.ru_stime)


def growth(rows: Sequence[int], peaks: Sequence[float]) -> float:
    """Bytes per row, by least squares, of peaks in MiB."""
    return float(np.polyfit(rows, peaks, 1)[0]) * 2**20


def missed(rows: Sequence[int], peaks: dict[str, list[float]]) -> list[str]:
    """The limits that are not kept, in words."""
    found = []
    for stage, of_stage in peaks.items():
        if of_stage[-1] > PEAK_MIB:
            found.append(f"{stage}: {of_stage[-1]:.0f} MiB, limit {PEAK_MIB:.0f}")
        if (more := growth(rows, of_stage)) > BYTES_PER_ROW:
            found.append(f"{stage}: {more:.0f} bytes per row, limit {BYTES_PER_ROW:.0f}")
    return found


def main() -> None:
    """Measure, print, assert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[15_625, 62_500, 250_000])
    sizes = sorted(parser.parse_args().samples)
    peaks: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            run = str(Path(folder) / "run")
            spent_by([sys.executable, "-c", _WRITE, run, str(count)])
            for stage in STAGES:
                spent = spent_by([sys.executable, "-c", _STAGE, stage, run])
                peaks[stage].append(spent.peak)
                print(
                    f"{count:>9,} samples {ROWS * count:>10,} rows  {stage:5}  "
                    f"peak {spent.peak:6.0f} MiB  {spent.seconds:6.1f} s  cpu {spent.cpu:6.1f} s",
                    flush=True,
                )
    rows = [ROWS * count for count in sizes]
    for stage, of_stage in peaks.items():
        print(f"{stage}: {growth(rows, of_stage):.0f} bytes more per row of the attention table")
    if faults := missed(rows, peaks):
        print("missed: " + "; ".join(faults))
        raise SystemExit(1)


if __name__ == "__main__":
    main()
