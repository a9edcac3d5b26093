"""Attribution by definition: whole Jacobians, differences, ReLUs with a written-out backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Head = Callable[[Tensor], Tensor]


def activations_of(model: nn.Module, layer: str, image: Tensor) -> Tensor:
    """Output of a layer for one image ``[1, C, H, W]``, as it is before anything follows."""
    caught: list[Tensor] = []
    module = model.get_submodule(layer)
    handle = module.register_forward_hook(lambda _, args, output: caught.append(output.clone()))
    with torch.no_grad():
        model(image)
    handle.remove()
    (activations,) = caught
    return activations


def head_of(model: nn.Module, layer: str, image: Tensor) -> Head:
    """The logits ``[n]`` as a function of the layer's output, for one image."""

    def head(activations: Tensor) -> Tensor:
        module = model.get_submodule(layer)
        handle = module.register_forward_hook(lambda *_: activations.clone())
        try:
            logits: Tensor = model(image)[0]
        finally:
            handle.remove()
        return logits

    return head


def jacobian(model: nn.Module, layer: str, image: Tensor) -> Tensor:
    """dY/dA of every class, ``[n, *A.shape]``."""
    activations = activations_of(model, layer, image)
    found: Tensor = torch.func.jacrev(head_of(model, layer, image))(activations)
    return found


def jacobian_by_differences(
    model: nn.Module, layer: str, image: Tensor, step: float = 1e-5
) -> Tensor:
    """dY/dA of every class by central differences, ``[n, *A.shape]``."""
    activations = activations_of(model, layer, image)
    head = head_of(model, layer, image)
    columns = []
    with torch.no_grad():
        for position in range(activations.numel()):
            nudge = torch.zeros_like(activations)
            nudge.view(-1)[position] = step
            columns.append((head(activations + nudge) - head(activations - nudge)) / (2 * step))
    return torch.stack(columns, -1).reshape(-1, *activations.shape)


def grad_cam(activations: Tensor, gradient: Tensor) -> Tensor:
    """Equations 1 and 2, in loops; both ``[1, C, h, w]``; the map ``[h, w]``."""
    _, channels, height, width = activations.shape
    total = torch.zeros(height, width, dtype=activations.dtype)
    for k in range(channels):
        alpha = sum(gradient[0, k, i, j] for i in range(height) for j in range(width))
        total += alpha / (height * width) * activations[0, k]
    return total


def hires_cam(activations: Tensor, gradient: Tensor) -> Tensor:
    """Each channel's gradient times its activation, cell by cell."""
    _, channels, _, _ = activations.shape
    total = torch.zeros_like(activations[0, 0])
    for k in range(channels):
        total += gradient[0, k] * activations[0, k]
    return total


MAPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "counterfactual": lambda activations, gradient: grad_cam(activations, -gradient),
    "hires-cam": hires_cam,
    "layer-cam": lambda activations, gradient: hires_cam(
        activations, torch.where(gradient > 0, gradient, 0.0)
    ),
}


def winning(units: Tensor, weights: Tensor, won: Tensor) -> Tensor:
    """Equation 5 of arXiv 1608.00507, in loops: ``units`` [n], ``weights`` [m, n], ``won`` [m]."""
    passed = torch.zeros_like(units)
    for j, row in enumerate(weights):
        excited = [float(a * w) if w > 0 else 0.0 for a, w in zip(units, row, strict=True)]
        for i, part in enumerate(excited):
            if sum(excited) > 0:
                passed[i] += won[j] * part / sum(excited)
    return passed


def contrastive_winning(layers: list[tuple[Tensor, Tensor]], target: int) -> Tensor:
    """Probabilities of the lowest units, less the dual's.

    ``layers`` are the units and the weight matrix above them, from the lowest to the last.
    """
    *lower, (units, weights) = layers
    won = torch.zeros(len(weights), dtype=units.dtype)
    won[target] = 1
    won = winning(units, weights, won) - winning(units, -weights, won)
    for units, weights in reversed(lower):
        won = winning(units, weights, won)
    return won


class GuidedReLU(torch.autograd.Function):
    """``relu``, and backwards ``R * [R > 0] * [low < x < high]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float = torch.inf) -> Tensor:
        ctx.save_for_backward(x)
        ctx.high = high
        return x.clamp(min=0, max=high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (signal,) = grads
        return torch.where((signal > 0) & (x > 0) & (x < ctx.high), signal, 0.0), None


def guided_relu(x: Tensor, inplace: bool = False) -> Tensor:
    return GuidedReLU.apply(x)  # type: ignore[no-any-return]


def guided_relu6(x: Tensor, *_: Any) -> Tensor:
    return GuidedReLU.apply(x, 6.0)  # type: ignore[no-any-return]


class DeconvolvedReLU(torch.autograd.Function):
    """``relu``, and backwards ``R * [R > 0]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float = torch.inf) -> Tensor:
        return x.clamp(min=0, max=high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (signal,) = grads
        return torch.where(signal > 0, signal, 0.0), None


def deconvolved_relu(x: Tensor) -> Tensor:
    return DeconvolvedReLU.apply(x)  # type: ignore[no-any-return]


def deconvolved_relu6(x: Tensor) -> Tensor:
    return DeconvolvedReLU.apply(x, 6.0)  # type: ignore[no-any-return]


@contextmanager
def guided_functions() -> Iterator[None]:
    """Every ``nn.ReLU``, ``F.relu`` and ``nn.ReLU6`` as the reference."""
    with (
        mock.patch.object(F, "relu", guided_relu),
        mock.patch.object(F, "hardtanh", guided_relu6),
    ):
        yield


def gradient(model: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    """Gradient of each image's target logit in the image."""
    images = images.clone().requires_grad_()
    logits = model(images)
    score = sum(logits[b, target] for b, target in enumerate(targets))
    (found,) = torch.autograd.grad(score, images)
    return found
