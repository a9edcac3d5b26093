"""A tiny data set on disk, good in every way, for tests to break."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.config import Audit
from audit.data import Dataset, open_dataset

HEIGHT, WIDTH = 20, 30
CODES = {"face": 1, "tool": [2, 3]}


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth (so that JPEG keeps it), coloured, without any symmetry; uint8 [H, W, 3]."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    bands = (0.15 + 0.8 * x * y, 0.9 - 0.7 * x, 0.2 + 0.6 * y + 0.02 * (seed % 8))
    return np.round(np.stack(bands, axis=-1) * 255).astype(np.uint8)


def codes(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A code mask without any symmetry; uint8 [H, W]."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[2:7, 3:9] = 1
    mask[10:18, 14:26] = 2
    mask[12:14, 16:18] = 3
    mask[0, -1] = 9  # names no region
    return mask


@dataclass
class Fixture:
    """Eight samples; a test changes files and rows, then opens the data set."""

    folder: Path
    rows: list[dict[str, str]]
    data: dict = field(default_factory=dict)
    regions: dict = field(
        default_factory=lambda: {"source": {"encoding": "codes", "values": CODES}}
    )
    extra: dict = field(default_factory=dict)

    @property
    def victim(self) -> dict[str, str]:
        """The row that a test breaks: the last of the audit."""
        return self.rows[-1]

    def config(self) -> Audit:
        defaults = {
            "root": self.folder,
            "train": {"split": "train"},
            "audit": {"split": "test"},
            "validation": 0,
        }
        return Audit.model_validate(
            {
                "name": "tiny",
                "data": {**defaults, **self.data},
                "regions": self.regions,
                **self.extra,
            }
        )

    def write(self) -> None:
        pd.DataFrame(self.rows).to_csv(self.folder / "manifest.csv", index=False)

    def open(self) -> Dataset:
        self.write()
        return open_dataset(self.config())


@pytest.fixture
def tiny(tmp_path: Path) -> Fixture:
    """Two classes, two training and two audited samples of each."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for index in range(8):
        split, label = ("train", "test")[index // 4], ("doctor", "nurse")[index % 2]
        name = f"sample-{index}"
        Image.fromarray(picture(index)).save(folder / "images" / f"{name}.png")
        Image.fromarray(codes()).save(folder / "masks" / f"{name}.png")
        rows.append(
            {
                "sample_id": name,
                "path": f"images/{name}.png",
                "mask": f"masks/{name}.png",
                "split": split,
                "label": label,
                "gender": ("man", "woman")[index // 2 % 2],
                "tone": ("dark", "light")[index % 2],
            }
        )
    return Fixture(folder, rows)
