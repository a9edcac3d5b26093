"""Peak memory of a whole audit must not grow with the number of samples.

``python -m tests.benchmarks.memory`` audits 1,000 and 20,000 samples (the same few pictures, many
rows) with a loaded model, each in a process of its own, and asserts that the larger one peaks at
no more than 1.1 times the smaller one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from audit.models.registry import build
from tests.tiny import CONFIG, write_tiny

LIMIT = 1.1
SIZES = (1_000, 20_000)


def prepare(folder: Path, count: int) -> Path:
    """An audit of ``count`` rows over a few pictures; returns its configuration."""
    config = write_tiny(folder)
    pictures = pd.read_csv(folder / "manifest.csv").query("split == 'test'")
    rows = pd.concat([pictures] * (count // len(pictures) + 1)).head(count)
    rows.assign(sample_id=[f"s{i:06d}" for i in range(count)]).to_csv(
        folder / "manifest.csv", index=False
    )
    torch.manual_seed(0)
    torch.save(build("small-cnn", {"width": 8}, 2).state_dict(), folder / "weights.pt")
    text = CONFIG.replace("  train: {epochs: 2, batch_size: 16}\n", "  checkpoint: weights.pt\n")
    text = text.replace("  train: {split: train}\n  validation: 0.2\n", "")
    config.write_text(
        text.replace("batch_size: 8, shard_size: 8", "batch_size: 64, shard_size: 256")
    )
    return config


def peak_of(config: Path) -> tuple[float, float]:
    """Peak resident memory in MiB and seconds of a whole run, report included."""
    started = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "flows", "run", str(config), "--no-prefect", "--quiet"),
            *("--out", str(config.parent / "run")),
        ]
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"the audit of {config} failed")
    return usage.ru_maxrss / 1024, time.monotonic() - started


def main() -> None:
    """Measure, print, assert."""
    peaks = []
    for count in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            peak, seconds = peak_of(prepare(Path(folder), count))
        peaks.append(peak)
        print(f"{count:>7,} samples: peak {peak:7.0f} MiB, {seconds:6.0f} s", flush=True)
    ratio = peaks[-1] / peaks[0]
    print(f"ratio {ratio:.3f} (limit {LIMIT})")
    if ratio > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
