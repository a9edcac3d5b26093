"""What an explanation costs, in one interleaved run: time, operations, memory.

``python -m tests.benchmarks.attribution [--models resnet50,vgg16] [--rounds 15] [--peers]``

Every round times every contestant once, in a random order; a ratio is taken within its round, so
that what else the machine does cancels. Reported are the median ratio to the bare forward pass and
a 95 % interval of that median by order statistics. Weights are frozen for everyone but the public
libraries, which are called as their documentation says; "deviation" is the largest difference of
their maps from ours, as part of the largest value, where the definitions agree. "auto" is what
``execution.precision: auto`` chooses here, for the same maps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from scipy.stats import binom
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from audit.attribution import attribute, explain, find_layer, guided_refusal
from audit.errors import ModelError
from audit.models.load import channels_last
from audit.models.precision import set_precision
from tests.benchmarks import peers

Act = Callable[[], Any]

FORWARD = "bare forward"
BACKWARD = "forward + input backward"
GRAD_CAM = "Grad-CAM"
GUIDED = "Grad-CAM + guided"
MODELS = ("resnet50", "vgg16", "efficientnet_b0", "vit_b_16")
CLASSES = 10


def contestants(model: nn.Module, images: Tensor) -> dict[str, Act]:
    """What is compared, by name."""
    model.requires_grad_(False)
    fast = channels_last(deepcopy(model), images[:1])
    layer = find_layer(model, images[:1])
    targets = torch.arange(len(images), device=images.device)
    several = torch.arange(CLASSES, device=images.device).expand(len(images), -1)

    def backward() -> Tensor:
        image = images.clone().requires_grad_()
        # The clone, since the counter of operations wants no leaf as a module's input.
        score = model(image.clone()).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(score, image)[0]

    def one(explained: nn.Module) -> Tensor:
        return explain(explained, images, targets, method="grad-cam", layer=layer)

    def both(explained: nn.Module) -> Any:
        return attribute(explained, images, lambda _: targets, layer=layer, guided=True)

    found: dict[str, Act] = {
        FORWARD: torch.no_grad()(lambda: model(images)),
        BACKWARD: backward,
        GRAD_CAM: lambda: one(model),
        f"Grad-CAM, {CLASSES} classes": lambda: explain(
            model, images, several, method="grad-cam", layer=layer
        ),
    }
    guided = guided_refusal(model, images[:1]) is None
    if guided:
        found[GUIDED] = lambda: both(model)
    precision = set_precision(fast, layer, "auto", images[:1])
    found[f"{GRAD_CAM}, auto: {precision}"] = lambda: one(fast)
    if guided:
        found[f"{GUIDED}, auto: {precision}"] = lambda: both(fast)
    return found


def deviations(acts: dict[str, Act], others: list[peers.Peer]) -> dict[str, float | None]:
    """How far the public libraries' maps are from ours, where they define the same."""
    maps = acts[GRAD_CAM]()
    guided = acts[GUIDED]().guided[:, 0] if GUIDED in acts else None
    found = {}
    for peer in others:
        ours = guided if peer.guided else maps
        assert ours is not None
        found[peer.name] = peer.deviation(ours)
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
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is one operation, unknown to the counter
    try:
        with FlopCounterMode(display=False) as counter:
            act()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())


def stored(act: Act) -> int:
    """Bytes saved for a backward pass, those of parameters left out."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor._base if tensor._base is not None else tensor, nn.Parameter):
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        act()
    return sum(sizes.values())


def peak(act: Act) -> int:
    """The most bytes allocated at once beyond what was there before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        act()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        act()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max(initial=0))


def measure(name: str, batch: int, rounds: int, with_peers: bool) -> Table:
    """The table of one architecture, with random weights."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: nn.Module = torchvision.models.get_model(name, weights=None).eval().to(device)
    for parameter in model.parameters():
        if not parameter.any():  # as a ViT's head, which would leave nothing to explain
            nn.init.normal_(parameter, std=0.02)
    images = torch.randn(batch, 3, 224, 224, device=device)
    acts = contestants(model, images)
    counted = {label: _counted(act) for label, act in acts.items()}
    deviation: dict[str, float | None] = {}
    if with_peers:
        trainable = deepcopy(model).requires_grad_(True)
        others = peers.installed(trainable, find_layer(model, images[:1]), images, GUIDED in acts)
        deviation = deviations(acts, others)
        acts |= {peer.name: peer.act for peer in others}
        counted |= {peer.name: _counted(peer.act) for peer in others}
    seconds = timed(acts, rounds)
    table = Table(title=f"{name}, batch {batch}, {device}, {rounds} rounds", title_justify="left")
    table.add_column("")
    for column in (
        "ms",
        "x forward",
        "95 %",
        "x fwd+bwd",
        "FLOPs x",
        "stored MB",
        "peak MB",
        "deviation",
    ):
        table.add_column(column, justify="right")
    forward = counted[FORWARD][0]
    for label, times in seconds.items():
        ratio, low, high = median_interval(times / seconds[FORWARD])
        against, *_ = median_interval(times / seconds[BACKWARD])
        operations, saved, most = counted[label]
        apart = deviation.get(label)
        table.add_row(
            label,
            f"{1000 * np.median(times):.0f}",
            f"{ratio:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{against:.2f}",
            "-" if operations is None or forward is None else f"{operations / forward:.3f}",
            "-" if saved is None else f"{saved / 1e6:.1f}",
            "-" if most is None else f"{most / 1e6:.0f}",
            "" if apart is None else f"{apart:.1e}",
        )
    return table


def _counted(act: Act) -> tuple[int | None, int | None, int | None]:
    """Operations, stored and peak bytes; None where a library's own hooks forbid counting."""
    try:
        return flops(act), stored(act), peak(act)
    except (RuntimeError, ModelError):
        return None, None, None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peers", action="store_true", help="the public libraries too")
    chosen = parser.parse_args()
    for name in chosen.models.split(","):
        Console(width=140).print(measure(name, chosen.batch, chosen.rounds, chosen.peers))


if __name__ == "__main__":
    main()
