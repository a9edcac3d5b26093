"""What an explanation costs, in one interleaved run: time, operations, stored bytes.

``python -m tests.benchmarks.attribution [--models resnet50,vgg16] [--rounds 15] [--peers]``

Every round times every contestant once, in a random order; a ratio is taken within its round, so
that what else the machine does cancels. Reported are the median ratio to the bare forward pass and
a 95 % interval of that median by order statistics.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from scipy.stats import binom
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audit.attribution import attribute, explain, find_layer, guided_refusal
from audit.errors import ModelError
from tests.benchmarks import peers

Act = Callable[[], Any]

FORWARD = "bare forward"
BACKWARD = "forward + input backward"
MODELS = ("resnet50", "vgg16", "efficientnet_b0", "vit_b_16")
CLASSES = 10


def contestants(model: nn.Module, images: Tensor, with_peers: bool) -> dict[str, Act]:
    """What is compared, by name."""
    layer = find_layer(model, images[:1])
    targets = torch.arange(len(images), device=images.device)
    several = torch.arange(CLASSES, device=images.device).expand(len(images), -1)

    def backward() -> Tensor:
        image = images.clone().requires_grad_()
        score = model(image).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(score, image)[0]

    def both() -> Any:
        return attribute(model, images, lambda _: targets, layer=layer, guided=True)

    found: dict[str, Act] = {
        FORWARD: torch.no_grad()(lambda: model(images)),
        BACKWARD: backward,
        "Grad-CAM": lambda: explain(model, images, targets, method="grad-cam", layer=layer),
        f"Grad-CAM, {CLASSES} classes": lambda: explain(
            model, images, several, method="grad-cam", layer=layer
        ),
    }
    guided = guided_refusal(model, images[:1]) is None
    if guided:
        found["Grad-CAM + guided"] = both
    if with_peers:
        others = peers.grad_cams(model, layer, images, targets)
        found |= {f"{name}: Grad-CAM": act for name, act in others.items()}
        if guided:
            others = peers.guided_grad_cams(model, layer, images, targets)
            found |= {f"{name}: guided": act for name, act in others.items()}
    return found


def timed(acts: dict[str, Act], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of every act in every round, ``[rounds]`` each, after one round to warm up."""
    rng = np.random.default_rng(0)
    seconds = {name: np.zeros(rounds) for name in acts}
    for act in acts.values():
        act()
    for r in range(rounds):
        for name in rng.permutation(list(acts)):
            _settle()
            started = time.perf_counter()
            acts[name]()
            _settle()
            seconds[name][r] = time.perf_counter() - started
    return seconds


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and its distribution-free 95 % interval, by order statistics."""
    ordered = np.sort(values)
    rank = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    return float(np.median(ordered)), float(ordered[rank]), float(ordered[-1 - rank])


def flops(act: Act) -> int:
    """Floating-point operations by torch's counter."""
    with FlopCounterMode(display=False) as counter:
        act()
    return int(counter.get_total_flops())


def stored(model: nn.Module, act: Act) -> int:
    """Bytes saved for a backward pass, those of the parameters left out."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        act()
    return sum(sizes.values())


def measure(name: str, batch: int, rounds: int, with_peers: bool) -> Table:
    """The table of one architecture, with random weights."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: nn.Module = torchvision.models.get_model(name, weights=None).eval().to(device)
    images = torch.randn(batch, 3, 224, 224, device=device)
    acts = contestants(model, images, with_peers)
    counted = {label: _counted(model, act) for label, act in acts.items()}
    seconds = timed(acts, rounds)
    table = Table(title=f"{name}, batch {batch}, {device}, {rounds} rounds", title_justify="left")
    table.add_column("")
    for column in ("ms", "x forward", "95 %", "x fwd+bwd", "FLOPs x", "stored MB"):
        table.add_column(column, justify="right")
    forward = counted[FORWARD][0]
    for label, times in seconds.items():
        ratio, low, high = median_interval(times / seconds[FORWARD])
        against, *_ = median_interval(times / seconds[BACKWARD])
        operations, saved = counted[label]
        table.add_row(
            label,
            f"{1000 * np.median(times):.0f}",
            f"{ratio:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{against:.2f}",
            "-" if operations is None or forward is None else f"{operations / forward:.3f}",
            "-" if saved is None else f"{saved / 1e6:.1f}",
        )
    return table


def _counted(model: nn.Module, act: Act) -> tuple[int | None, int | None]:
    """Operations and stored bytes; None where a library's own hooks forbid counting."""
    try:
        return flops(act), stored(model, act)
    except (RuntimeError, ModelError):
        return None, None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peers", action="store_true", help="the public libraries too")
    chosen = parser.parse_args()
    for name in chosen.models.split(","):
        Console(width=120).print(measure(name, chosen.batch, chosen.rounds, chosen.peers))


if __name__ == "__main__":
    main()
