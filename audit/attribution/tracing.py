"""One forward pass, and what attribution needs of it: activations, gradients, guided gradients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from audit.attribution.graph import depends, refuse_checkpoints
from audit.attribution.grids import Grid, infer_grid
from audit.attribution.layers import layer_named
from audit.attribution.probabilities import probabilities_skipped
from audit.attribution.rectifiers import only_positive, rectifiers
from audit.attribution.scores import Output, check_images, check_targets, cotangents, logits_of
from audit.attribution.state import undisturbed
from audit.errors import ModelError

_OFF_PATH = (
    "{} is not on the path of the score, or lies before a part of the model that runs without "
    "gradients"
)

ChooseTargets = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Trace:
    """What one forward pass leaves behind, detached, in float32 (float64 for such a model).

    Parameters
    ----------
    logits
        ``[B, n]``.
    activations
        A of the layer, ``[B, C, h, w]``; None where no layer was asked for.
    gradients
        dY/dA, ``[B, K, C, h, w]``; None where no layer was asked for.
    guided
        Guided-backpropagation gradient in the image, ``[B, K, C, H, W]``; None if not asked for.
    """

    logits: Tensor
    activations: Tensor | None
    gradients: Tensor | None
    guided: Tensor | None


def trace(
    model: nn.Module,
    images: Tensor,
    choose_targets: ChooseTargets,
    *,
    layer: str | None,
    guided: bool,
    output: Output | None,
) -> Trace:
    """Run the model once and go back from the chosen scores.

    Without ``guided`` the graph begins at the layer's output: what comes before it is an ordinary
    forward pass that stores nothing, and only the head is differentiated. With ``guided``, or
    where the layer lies in a checkpoint, the graph begins at the image; the gradient in the layer
    is still the plain one.

    Parameters
    ----------
    model
        The model; left as it was.
    images
        ``[B, C, H, W]``; left as they are.
    choose_targets
        From the detached logits ``[B, n]`` to class ids ``[B, K]`` (or ``[B]``, K = 1).
    layer
        Dotted name of the layer; None: no activations or gradients.
    guided
        Whether to compute the guided-backpropagation gradient.
    output
        Picks the logits from what the model returns; None: it returns them.

    Raises
    ------
    ModelError
        If the model cannot be explained so: no such layer, called more than once, not on the path
        of the score; guided backpropagation not defined; a wrapper that hides its layers.
    ValueError
        If images, targets or a token grid have the wrong shape, or a class is out of range.
    """
    check_images(images)
    passes = partial(_passes, model, images, choose_targets, layer, output)
    with undisturbed(model):
        if not guided:
            # A checkpoint recomputed while going back does not see where the graph was cut.
            with suppress(CheckpointError):
                return passes(guided=False, cut=True)
        try:
            return passes(guided=guided, cut=False)
        except CheckpointError as error:
            raise ModelError(
                "the model's checkpoints cannot be recomputed; switch checkpointing off"
            ) from error


def _passes(
    model: nn.Module,
    images: Tensor,
    choose_targets: ChooseTargets,
    layer: str | None,
    output: Output | None,
    *,
    guided: bool,
    cut: bool,
) -> Trace:
    """One forward pass and those back, with the graph cut at the layer or from the image on."""
    picture = images.detach().clone().requires_grad_(not cut)
    tap = _Tap(model, layer, cut=cut) if layer is not None else None
    with tap or nullcontext():
        logits = logits_of(model(picture.clone()), output, len(images))
    if tap is not None:
        tap.check(logits)
    elif not logits.requires_grad:
        raise ModelError(_OFF_PATH.format("the image"))
    refuse_checkpoints(logits)

    with probabilities_skipped(logits):
        relus = rectifiers(logits, picture) if guided else []
        detached = _settled(logits)
        with torch.no_grad():
            targets = check_targets(choose_targets(detached), len(images)).to(logits.device)
        seeds = cotangents(logits, targets.reshape(len(images), -1))

        activations = gradients = None
        if tap is not None:
            grid = tap.grid(logits, (images.shape[-2], images.shape[-1]))
            activations = _settled(grid(tap.output))
            by_class = _head_gradients(logits, tap, seeds, keep=guided)
            gradients = _settled(grid(by_class)).transpose(0, 1)
        guided_gradients = None
        if guided:
            with only_positive(relus):
                by_class = _one_by_one(logits, picture, seeds, "the image", keep=False)
            guided_gradients = _settled(by_class).transpose(0, 1)
    return Trace(detached, activations, gradients, guided_gradients)


class _Tap:
    """Catches the output of a layer during a forward pass.

    Parameters
    ----------
    model, layer
        Where.
    cut
        Whether the graph begins here: the output is detached, made a leaf, and gradients are
        switched on for what follows (the model may have switched them off).
    """

    output: Tensor

    def __init__(self, model: nn.Module, layer: str, *, cut: bool) -> None:
        self.where = f"layer '{layer}'"
        self.cut = cut
        self.calls = 0
        self._module = layer_named(model, layer)

    def __enter__(self) -> None:
        self._handle = self._module.register_forward_hook(self._catch)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.remove()

    def _catch(self, _: nn.Module, args: Any, output: Any) -> Tensor:
        self.calls += 1
        if not isinstance(output, Tensor):
            raise ModelError(
                f"{self.where} returns {type(output).__name__}; choose one that returns a tensor"
            )
        self.output = output.clone()  # what comes before may be written to in place,
        if self.cut:
            self.output = self.output.detach().requires_grad_()
            torch.set_grad_enabled(True)
        return self.output.clone()  # and so may what follows

    def check(self, logits: Tensor) -> None:
        """Refuse a layer that was not called exactly once before the score.

        Raises
        ------
        ModelError
            In that case.
        """
        if self.calls == 0:
            raise ModelError(f"{self.where} is not called in the forward pass")
        if self.calls > 1:
            raise ModelError(
                f"{self.where} is called {self.calls} times in one forward pass; choose "
                "one that is called once, such as the block that holds it"
            )
        if not (logits.requires_grad and self.output.requires_grad):
            raise ModelError(_OFF_PATH.format(self.where))

    def grid(self, logits: Tensor, size: tuple[int, int]) -> Grid:
        """The grid of the output, on which the logits depend.

        Raises
        ------
        ModelError
            If there is none.
        ValueError
            If the tokens do not make a grid.
        """
        shape = list(self.output.shape)
        grid = infer_grid(tuple(shape), size)
        if grid is None and self.output.ndim == 3:
            raise ValueError(
                f"{self.where} gives {shape}: wanted [B, prefix + h * w, C] with h x w "
                f"whole square patches of an image of {list(size)}"
            )
        if grid is None:
            raise ModelError(
                f"{self.where} gives {shape}: wanted a spatial output, [B, C, h, w], "
                "[B, h, w, C] or [B, tokens, C]"
            )
        if grid.layout == "tokens":
            matters = depends(logits, self.output)
            if matters is None or not grid(matters).any():
                raise ModelError(
                    f"the score does not depend on the patch tokens of {self.where}, only "
                    "on those before them; choose an earlier layer (find_layer names one)"
                )
        return grid


def _head_gradients(logits: Tensor, tap: _Tap, seeds: Tensor, *, keep: bool) -> Tensor:
    """Gradients of K scores in the tap's output, ``[K, *output.shape]``.

    All K in one batched product, or one by one where the head has no batched form.
    """
    if len(seeds) > 1:
        with suppress(RuntimeError):
            return _gradient(logits, tap.output, seeds, tap.where, keep=True, batched=True)
    return _one_by_one(logits, tap.output, seeds, tap.where, keep=keep)


def _one_by_one(logits: Tensor, tensor: Tensor, seeds: Tensor, where: str, *, keep: bool) -> Tensor:
    """Gradients of K scores, ``[K, *tensor.shape]``, in K backward passes."""
    last = len(seeds) - 1
    return torch.stack(
        [
            _gradient(logits, tensor, seed, where, keep=keep or k < last)
            for k, seed in enumerate(seeds)
        ]
    )


def _gradient(
    logits: Tensor, tensor: Tensor, seed: Tensor, where: str, *, keep: bool, batched: bool = False
) -> Tensor:
    gradient: Tensor | None
    (gradient,) = torch.autograd.grad(
        logits, tensor, seed, retain_graph=keep, is_grads_batched=batched, allow_unused=True
    )
    if gradient is None:
        raise ModelError(_OFF_PATH.format(where))
    return gradient


def _settled(tensor: Tensor) -> Tensor:
    """Detached, and at least float32."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))
