"""A data set of a few dozen small pictures whose background gives the class away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SIDE = 32


def write_tiny(folder: Path, *, per_cell: int = 8, seed: int = 0) -> Path:
    """Pictures of a square or a disc on a light or dark background; returns ``audit.yaml``.

    In the training pictures squares are always on light and discs on dark; in the test pictures
    both occur. The object is core, the background's upper band (``sky``) forbidden.
    """
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for split, cells in (
        ("train", [("square", "light"), ("disc", "dark")]),
        ("test", [(s, b) for s in ("square", "disc") for b in ("light", "dark")]),
    ):
        for shape, background in cells:
            count = per_cell * (2 if split == "train" else 1)
            for i in range(count):
                name = f"{split}-{shape}-{background}-{i}"
                picture, mask = _draw(rng, shape, background)
                Image.fromarray(picture).save(folder / f"images/{name}.png")
                Image.fromarray(mask).save(folder / f"masks/{name}.png")
                rows.append(
                    {
                        "sample_id": name,
                        "path": f"images/{name}.png",
                        "mask": f"masks/{name}.png",
                        "split": split,
                        "label": shape,
                        "background": background,
                        "pair": str(i),
                    }
                )
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    config = folder / "audit.yaml"
    config.write_text(CONFIG)
    return config


def _draw(rng: np.random.Generator, shape: str, background: str) -> tuple[np.ndarray, np.ndarray]:
    level = 190 if background == "light" else 60
    picture = level + rng.normal(0, 8, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[: SIDE // 5] = 2
    y, x = rng.integers(SIDE // 2, SIDE - 8), rng.integers(8, SIDE - 8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    if shape == "disc":
        inside = np.hypot(rows - y, columns - x) < 6
    else:
        inside = (abs(rows - y) < 5) & (abs(columns - x) < 5)
    mask[inside] = 1
    picture[inside] = rng.normal(128, 10, 3)
    return picture.clip(0, 255).astype(np.uint8), mask


CONFIG = """\
name: tiny
data:
  root: .
  attributes: [background]
  classes: [square, disc]
  train: {split: train}
  validation: 0.2
  audit: {split: test}
regions:
  source: {encoding: codes, column: mask, values: {object: 1, sky: 2}}
  roles: {core: [object], forbidden: [sky]}
model:
  arguments: {width: 8}
  input: {size: [32, 32]}
  train: {epochs: 2, batch_size: 16}
interventions:
  swap: {attribute: background, match: [label]}
policy: {min_clusters: 5}
statistics: {resamples: 199}
execution: {batch_size: 8, shard_size: 8, device: cpu}
output: {pictures: 4}
"""
