"""The classifiers of the study: two small architectures, trained for seconds, in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from audit.config import Input
from audit.models.classifier import Classifier
from audit.models.small_cnn import SmallCNN
from tests.benchmarks.planted.scenes import CLASSES, SIDE, Scenes

ARCHITECTURES = ("small-cnn", "tiny-resnet")
INPUT = Input(size=(SIDE, SIDE), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

_BATCH = 64
_RATES = {"small-cnn": 6e-3, "tiny-resnet": 3e-3}


class _Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.first_norm(self.first(x)))
        return relu(self.second_norm(self.second(out)) + self.shortcut(x))


class TinyResNet(nn.Module):
    """Residual blocks to a quarter of the side, average pooling, a hidden and a linear layer."""

    def __init__(self, num_classes: int, width: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1),
            nn.ReLU(),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 2 * width, 1),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, num_classes]``."""
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


def build(architecture: str) -> nn.Module:
    """Fresh weights, of torch's random numbers."""
    if architecture == "small-cnn":
        return SmallCNN(len(CLASSES), width=12, depth=2)
    return TinyResNet(len(CLASSES))


def train(
    architecture: str, scenes: Scenes, seed: int, *, epochs: int, trained_out: bool = False
) -> Classifier:
    """Train on the pictures as found.

    Parameters
    ----------
    architecture
        One of ``ARCHITECTURES``.
    scenes
        Training pictures.
    seed
        Of weights and order.
    epochs
        Passes over the pictures.
    trained_out
        Show each picture with or without the cue by a fair coin, anew in every epoch, whatever the
        data say.
    """
    torch.manual_seed(seed)
    module = build(architecture).train()
    optimiser = torch.optim.AdamW(module.parameters(), weight_decay=1e-3)
    n = len(scenes)
    steps = epochs * (n // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=_RATES[architecture], total_steps=steps
    )
    classifier = Classifier(module, list(CLASSES), [0, 1], INPUT, torch.device("cpu"))
    found = scenes.images
    for _ in range(epochs):
        if trained_out:
            coin = torch.rand(n) < 0.5
            found = torch.where(coin[:, None, None, None], scenes.marked, scenes.plain)
        for rows in torch.randperm(n)[: n // _BATCH * _BATCH].view(-1, _BATCH):
            loss = cross_entropy(module(classifier.prepare(found[rows])), scenes.label[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    module.eval().requires_grad_(False)
    return classifier


def predict(classifier: Classifier, images: Tensor) -> Tensor:
    """Class ids of pictures (uint8), ``[N]``."""
    with torch.inference_mode():
        parts = [classifier.module(classifier.prepare(part)) for part in images.split(512)]
    return torch.cat(parts).argmax(1)


def spurious_score(classifier: Classifier, scenes: Scenes) -> float:
    """P(cross predicted | cue added to rings) minus the same without the cue: the truth."""
    rings = scenes.label == 0
    with_cue, without = (
        predict(classifier, pictures[rings]) for pictures in (scenes.marked, scenes.plain)
    )
    return float((with_cue == 1).double().mean() - (without == 1).double().mean())


def accuracy(classifier: Classifier, scenes: Scenes) -> float:
    """Part of the pictures without the cue that are classified rightly: how well core is read."""
    return float((predict(classifier, scenes.plain) == scenes.label).double().mean())
