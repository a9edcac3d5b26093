"""Pictures with a corner tag that nobody annotated, and networks built by hand to read it or not.

A blue square or a green disc on grey; every second picture has a magenta tag in its upper left
corner. The object is core, its shadow below (which no network sees) forbidden.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from audit.config_file import load_config
from audit.context import Context
from audit.data.dataset import check_dataset, open_dataset
from audit.models.classifier import Classifier

SIDE, CELL, TAG = 32, 4, 8
TAG_CHANNEL, SQUARE_CHANNEL, DISC_CHANNEL, TEXTURE_CHANNEL = range(4)

CONFIG = """\
name: tagged
data:
  root: .
  attributes: [tag]
  classes: [square, disc]
  columns: {cluster_id: person}
regions:
  source: {encoding: codes, column: mask, values: {object: 1, shadow: 2}}
  roles: {core: [object], forbidden: [shadow]}
model:
  architecture: tests.discovery.tagged:relies_on_the_tag
  pretrained: true
  input: {size: [32, 32], mean: [0, 0, 0], std: [1, 1, 1]}
statistics: {resamples: 999}
execution: {batch_size: 64, device: cpu, precision: float32}
"""


def write_tagged(folder: Path, *, count: int = 240, seed: int = 0) -> Path:
    """Write pictures, masks, manifest and ``audit.yaml``."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        shape, tagged = ("square", "disc")[i % 2], (i // 2) % 2 == 0
        picture, mask = _draw(rng, shape, tagged)
        Image.fromarray(picture).save(folder / f"images/{i:04d}.png")
        Image.fromarray(mask).save(folder / f"masks/{i:04d}.png")
        rows.append(
            {
                "sample_id": f"s{i:04d}", "path": f"images/{i:04d}.png",
                "mask": f"masks/{i:04d}.png", "label": shape, "person": f"p{i:04d}",
                "tag": "yes" if tagged else "no",
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    (folder / "audit.yaml").write_text(CONFIG)
    return folder / "audit.yaml"


def _draw(rng: np.random.Generator, shape: str, tagged: bool) -> tuple[np.ndarray, np.ndarray]:
    picture = rng.uniform(90, 160) + rng.normal(0, 6, (SIDE, SIDE, 1)).repeat(3, axis=2)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    y, x = rng.integers(14, 22), rng.integers(14, 26)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    if shape == "disc":
        inside, colour = np.hypot(rows - y, columns - x) < 5, (30, 200, 30)
    else:
        inside, colour = (abs(rows - y) < 5) & (abs(columns - x) < 5), (30, 30, 200)
    mask[28:] = 2
    mask[inside] = 1
    picture[inside] = colour
    if tagged:
        picture[:TAG, :TAG] = (220, 0, 220)
    return picture.clip(0, 255).astype(np.uint8), mask


def network(head: dict[tuple[int, int], float], bias: tuple[float, float] = (0, 0)) -> nn.Module:
    """Channels that see the tag, squares, discs and brightness, and a linear head.

    Only the full colours are seen, so that the blur, which leaves much of a colour, hides them.

    Parameters
    ----------
    head
        (class, channel): weight.
    bias
        Of the two logits.
    """
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AvgPool2d(CELL),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    ).eval()  # fmt: skip
    with torch.no_grad():
        module[0].weight[:, :, 0, 0] = torch.tensor(
            [[1, -2, 1], [-1, -1, 2], [-1, 2, -1], [0.3, 0.3, 0.3]], dtype=torch.float32
        )
        module[0].bias[:] = torch.tensor([-1.4, -1.1, -1.1, 0.0])
        module[-1].weight.zero_()
        for (row, channel), weight in head.items():
            module[-1].weight[row, channel] = weight
        module[-1].bias[:] = torch.tensor(bias)
    return module.requires_grad_(False)


def relies_on_the_tag() -> nn.Module:
    """Says square where there is a tag, else disc."""
    return network({(0, TAG_CHANNEL): 100.0, (1, DISC_CHANNEL): 1.0}, (-1.0, 0.0))


def relies_on_the_object() -> nn.Module:
    """Says what the object is."""
    return network({(0, SQUARE_CHANNEL): 30.0, (1, DISC_CHANNEL): 30.0})


def only_looks_at_the_tag() -> nn.Module:
    """The tag raises the score of square, which wins anyway."""
    return network({(0, TAG_CHANNEL): 1.0}, (100.0, 0.0))


def context_of(config: Path, module: nn.Module, **overrides: str) -> Context:
    """The audit of a network, as far as discovery needs it."""
    audit = load_config(config, {key.replace("__", "."): v for key, v in overrides.items()})
    dataset = open_dataset(audit)
    samples, _ = check_dataset(dataset, workers=1)
    classifier = Classifier(
        module, list(dataset.classes), [0, 1], audit.model.input, torch.device("cpu")
    )
    return Context(audit, dataset, samples, classifier, layer="2")
