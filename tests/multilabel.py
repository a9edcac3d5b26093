"""A multi-label data set and a model, weighted by hand, of which one label rests on a tag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

SIDE, CELL = 32, 4
LABELS = ["red", "tagged", "large"]
TOP = 2  # rows of cells in which the tag lies


class Three(nn.Module):
    """Three logits: "red" and "large" read the object, "tagged" the tag in the upper band.

    Only strong deviations from grey count, so that neither a blurred tag nor noise does. Without a
    tag, "tagged" goes by the faint noise of the ground: a coin flip.
    """

    def __init__(self) -> None:
        super().__init__()
        cells = SIDE // CELL
        mix = nn.Conv2d(3, 8, 1)
        self.features = nn.Sequential(mix, nn.ReLU(), nn.AvgPool2d(CELL))
        self.head = nn.Linear(8 * cells * cells, 3)
        with torch.no_grad():
            colours = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 1, 0], [0, -1, 0]])
            faint = torch.tensor([[0, 1.0, 0], [0, -1, 0], [0, 0, 0]])
            mix.weight.copy_(torch.cat([colours, faint])[..., None, None])
            mix.bias.copy_(torch.tensor([-1.3] * 5 + [0.0] * 3))
            read = torch.zeros(3, 8, cells, cells)
            read[0, [0, 1], TOP:] = torch.tensor([1.0, -1.0])[:, None, None]
            read[1, [3, 4], :TOP] = torch.tensor([9.0, -9.0])[:, None, None]
            read[1, [5, 6], TOP:] = torch.tensor([0.2, -0.2])[:, None, None]
            read[2, [0, 1], TOP:] = 1.0
            self.head.weight.copy_(read.flatten(1))
            self.head.bias.copy_(torch.tensor([0.0, 0.0, -1.5]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).flatten(1))
        return logits


def write_multilabel(folder: Path, *, count: int = 160, seed: int = 0) -> Path:
    """Pictures of a red or blue, small or large square under a light or dark tag; ``audit.yaml``.

    Colour and size are independent of the tag, and "tagged" is a label of the picture that the tag
    only goes with, 9 times of 10.
    """
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        red, large, light = i % 2, i // 2 % 2, i // 4 % 2
        picture, mask = _draw(rng, bool(red), bool(large), bool(light))
        Image.fromarray(picture).save(folder / f"images/{i}.png")
        Image.fromarray(mask).save(folder / f"masks/{i}.png")
        rows.append(
            {
                "sample_id": f"s{i}",
                "path": f"images/{i}.png",
                "mask": f"masks/{i}.png",
                "is_red": red,
                "is_tagged": light if rng.random() < 0.9 else 1 - light,
                "is_large": "yes" if large else "no",
                "tag": "light" if light else "dark",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    torch.save(Three().state_dict(), folder / "weights.pt")
    config = folder / "audit.yaml"
    config.write_text(CONFIG)
    return config


def _draw(
    rng: np.random.Generator, red: bool, large: bool, light: bool
) -> tuple[np.ndarray, np.ndarray]:
    picture = 128 + rng.normal(0, 6, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    size = 12 if large else 7
    y, x = rng.integers(TOP * CELL + 2, SIDE - size), rng.integers(0, SIDE - size)
    picture[y : y + size, x : x + size] = (226, 128, 30) if red else (30, 128, 226)
    mask[y : y + size, x : x + size] = 1
    y, x = rng.integers(0, 3), rng.integers(1, SIDE - 7)
    picture[y : y + 6, x : x + 6] += 105 if light else -105
    mask[y : y + 6, x : x + 6] = 2
    return picture.clip(0, 255).round().astype(np.uint8), mask


CONFIG = """\
name: things
data:
  root: .
  attributes: [tag]
  label_columns: {red: is_red, tagged: is_tagged, large: is_large}
regions:
  source: {encoding: codes, column: mask, values: {object: 1, tag: 2}}
  roles: {core: [object], forbidden: [tag]}
model:
  architecture: tests.multilabel:Three
  checkpoint: weights.pt
  input: {size: [32, 32], mean: [0.502, 0.502, 0.502], std: [0.25, 0.25, 0.25]}
statistics: {resamples: 499}
execution: {device: cpu, precision: float32}
output: {pictures: 4}
"""
