"""Pictures full of coloured squares, of which the red or blue one decides; nets for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from audit.attribution import attribute
from audit.checks.subject import Subject
from audit.config import Audit, Input
from audit.geometry import coverage_to_grid
from audit.models.classifier import Classifier, normalise
from audit.models.small_cnn import SmallCNN

SIDE = 96
OTHERS = ((40, 200, 40), (220, 220, 60), (20, 20, 20), (235, 235, 235), (60, 200, 200))
SHOWN = {0: (230, 40, 40), 1: (40, 40, 230)}


def squares(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures ``[n, 3, h, w]`` uint8, classes ``[n]``, the deciding squares ``[n, 1, h, w]``."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(80, 170, (count, SIDE, SIDE, 3)).astype(np.uint8)
    classes = np.arange(count) % 2
    masks = np.zeros((count, 1, SIDE, SIDE), dtype=np.float32)
    for picture, class_, mask in zip(pictures, classes, masks, strict=True):
        for colour in (*OTHERS, *OTHERS, SHOWN[int(class_)]):
            top, left = rng.integers(0, SIDE - 20, 2)
            picture[top : top + 20, left : left + 20] = colour
        mask[0, top : top + 20, left : left + 20] = 1
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(classes), torch.from_numpy(masks)


def configuration() -> Audit:
    return Audit.model_validate(
        {
            "name": "squares",
            "data": {"source": "scenes", "classes": ["red", "blue"]},
            "regions": {
                "source": {"encoding": "codes", "values": {"square": 1}},
                "roles": {"core": ["square"]},
            },
            "model": {"input": {"size": [SIDE, SIDE]}},
            "execution": {"batch_size": 32, "device": "cpu"},
        }
    )


def trained(config: Input, steps: int = 60) -> nn.Module:
    """A small CNN that tells red from blue; about three seconds on one core."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SmallCNN(2, width=8, depth=2)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(steps):
            images, classes, _ = squares(32, seed=1000 + step)
            loss = nn.functional.cross_entropy(model(normalise(images, config)), classes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def plain(depth: int, width: int = 16) -> nn.Module:
    """A deep net of convolutions alone, as VGG: nothing in it normalises."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for i in range(depth):
            stride = 2 if i % (depth // 3) == 0 else 1
            layers += [nn.Conv2d(width if i else 3, width, 3, stride, padding=1), nn.ReLU()]
        parts = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2)
    return nn.Sequential(*parts).eval().requires_grad_(False)


class Wired(nn.Module):
    """A fixed function of the picture is its only channel: the map, up to a factor.

    Parameters
    ----------
    to_grid
        From images ``[B, 3, H, W]`` to ``[B, 1, h, w]``.
    """

    def __init__(self, to_grid: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.grid = Function(to_grid)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0], [2.0]]))
            self.head.bias.zero_()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.grid(images).mean((2, 3)))


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


def brightness(images: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8)


def red_or_blue(images: Tensor) -> Tensor:
    """High on the square that decides, 0 on the others."""
    red, green, blue = images.unbind(1)
    return nn.functional.avg_pool2d(((red - blue).abs() - green - 2).relu()[:, None], 8)


def subject_with(module: nn.Module, layer: str, count: int = 64) -> Subject:
    """What the checks look at, with the Grad-CAM of the true class."""
    config = configuration()
    images, classes, masks = squares(count, seed=0)
    classifier = Classifier(
        module, ["red", "blue"], [0, 1], config.model.input, torch.device("cpu")
    )
    found = attribute(module, classifier.prepare(images), lambda _: classes, layer=layer)
    grid = (found.maps.shape[-2], found.maps.shape[-1])
    return Subject(
        config=config,
        classifier=classifier,
        layer=layer,
        ids=[f"s{i}" for i in range(count)],
        clusters=np.arange(count),
        pictures=images,
        classes=classes,
        core=masks[:, 0],
        regions=coverage_to_grid(masks, grid),
        logits=found.logits,
        maps=found.maps[:, 0],
        tick=lambda: None,
    )
