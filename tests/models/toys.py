"""A data set, a configuration and models small enough for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audit.config import Audit
from audit.data.dataset import Example

CLASSES = ["red", "blue"]
CPU = torch.device("cpu")
SIDE = 24


@dataclass(frozen=True)
class Squares:
    """Noise with a square, red or blue, at a random place; stands in for ``Dataset``."""

    samples: pd.DataFrame
    classes: list[str]

    def load(self, index: int, *, with_masks: bool = True) -> Example:
        rng = np.random.default_rng(index)
        picture = rng.integers(80, 170, (SIDE, SIDE, 3), dtype=np.uint8)
        top, left = rng.integers(0, SIDE - 10, 2)
        colour = [230, 40, 40] if self.samples["label"][index] == "red" else [40, 40, 230]
        picture[top : top + 10, left : left + 10] = colour
        square = np.zeros((SIDE, SIDE), dtype=bool)
        square[top : top + 10, left : left + 10] = True
        masks = np.stack([square, ~square]) if with_masks else np.zeros((0, SIDE, SIDE), bool)
        return Example(picture, masks)


def squares(train: int = 48, validation: int = 16, *, red: float = 0.5) -> Squares:
    """A data set of which a part ``red`` of each part is red."""
    rows = []
    for part, count in (("train", train), ("validation", validation)):
        for index in range(count):
            label = "red" if index < red * count else "blue"
            rows.append({"sample_id": f"{part}-{index}", "label": label, "part": part})
    return Squares(pd.DataFrame(rows).assign(status="ok", reason=""), CLASSES)


def configuration(model: dict[str, Any] | None = None, *, seed: int = 0, **train: Any) -> Audit:
    """An audit of squares; ``train`` overrides quick settings."""
    quick = {"epochs": 3, "batch_size": 16, "learning_rate": 0.01}
    return Audit.model_validate(
        {
            "name": "squares",
            "seed": seed,
            "data": {"source": "scenes"},
            "regions": {"source": {"encoding": "codes", "values": {"square": 1, "rest": 0}}},
            "model": {
                "arguments": {"width": 4, "depth": 1},
                "input": {"size": [SIDE, SIDE]},
                "train": quick | train,
            }
            | (model or {}),
        }
    )


class Tiny(nn.Module):
    """Mean colour, then a linear layer; ``ending`` is applied to the logits."""

    def __init__(self, num_classes: int = 2, ending: nn.Module | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)
        self.ending = ending or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.ending(self.head(images.mean(dim=(2, 3))))
        return result


class OwnSoftmax(nn.Module):
    """A softmax that no operation's name gives away."""

    def forward(self, logits: Tensor) -> Tensor:
        powers = logits.exp()
        return powers / powers.sum(dim=1, keepdim=True)


class Wrapped(nn.Module):
    """Puts the logits into a container."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.tiny = Tiny()

    def forward(self, images: Tensor) -> Any:
        logits = self.tiny(images)
        return {"tuple": (logits, images), "dict": {"other": images, "logits": logits}}[self.kind]


def softmax() -> nn.Module:
    return Tiny(2, nn.Softmax(dim=1))


def log_softmax() -> nn.Module:
    return Tiny(2, nn.LogSoftmax(dim=1))


def sigmoid() -> nn.Module:
    return Tiny(2, nn.Sequential(nn.Sigmoid(), nn.Flatten()))


def own_softmax() -> nn.Module:
    return Tiny(2, OwnSoftmax())


def single_logit() -> nn.Module:
    return Tiny(1)


def many(num_classes: int) -> nn.Module:
    return Tiny(num_classes)


def three() -> nn.Module:
    return Tiny(3)


def damaged() -> nn.Module:
    module = Tiny()
    nn.init.constant_(module.head.bias, float("nan"))
    return module


def wide() -> nn.Module:
    """Returns one map of logits per picture instead of one vector."""
    return nn.Conv2d(3, 2, 1)


def fussy() -> nn.Module:
    """Wants 10 x 10 pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(300, 2))


def with_dropout(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


def answer() -> int:
    return 42


def broken() -> nn.Module:
    raise RuntimeError("no\nluck")
