"""How well each fill hides an area, and what it costs.

``python -m tests.benchmarks.fills CONFIG [--set KEY=VALUE ...] [--samples 40]``

Of each picture a placebo of its forbidden regions is filled: an area of which is known what was
there. Error: root mean square difference to that, pixels in 0..1. Outline: mean step across the
border of the filled area, over the picture's own step there (1 is as in the picture; a drawn edge
is more). Time: a picture, on one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audit.config_file import load_config
from audit.data.batches import batches
from audit.data.dataset import open_dataset
from audit.interventions import FILLS, fill
from audit.interventions.trials import placebos


def step(images: Tensor, masks: Tensor) -> Tensor:
    """Mean absolute step across the left and right border of an area, ``[B]``."""
    border = (masks[:, :, 1:] != masks[:, :, :-1])[:, None]
    steps = (images[..., 1:] - images[..., :-1]).abs() * border
    return steps.sum((1, 2, 3)) / (3 * border.sum((1, 2, 3))).clamp(min=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--samples", type=int, default=40)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(chosen.config, dict(pair.split("=", 1) for pair in chosen.set))
    dataset = open_dataset(config)
    audited = np.flatnonzero(dataset.samples["part"] == "audit")
    spread = audited[np.linspace(0, len(audited) - 1, chosen.samples).astype(int)]
    settings = {"batch_size": len(spread), "workers": config.execution.workers}
    (batch,) = batches(dataset, spread, config.model.input, **settings)
    forbidden = [config.regions.names.index(name) for name in config.regions.roles.forbidden]
    assert batch.coverage is not None
    regions = (batch.coverage[:, forbidden] > 0).any(1)
    masks, fits = placebos("compact", regions, torch.zeros_like(regions), range(len(spread)))
    images, masks = batch.images[fits].float() / 255, masks[fits]
    seeds = list(range(len(images)))
    print(f"{len(images)} pictures, {masks.float().mean():.0%} filled")
    for name in sorted(FILLS):
        started = time.perf_counter()
        filled = fill(name, images, masks, seeds)
        milliseconds = 1000 * (time.perf_counter() - started) / len(images)
        inside = masks[:, None].expand_as(images)
        error = (filled - images)[inside].square().mean().sqrt()
        outline = step(filled, masks).mean() / step(images, masks).mean()
        print(f"{name:12} error {error:.3f}  outline {outline:.2f}  {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
