"""One forward pass, and what attribution needs of it: activations and gradients."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from audit.attribution.excitation import Excitations, contrastive
from audit.attribution.graph import depends, is_linear, refuse_checkpoints
from audit.attribution.grids import Grid, infer_grid
from audit.attribution.layers import layer_named
from audit.attribution.probabilities import probabilities_skipped
from audit.attribution.rectifiers import RULES
from audit.attribution.scores import ClassScores, Question, check_images, settled
from audit.attribution.state import undisturbed
from audit.attribution.tokens import TokensSkipped
from audit.errors import ModelError

_OFF_PATH = (
    "{} is not on the path of the score, or lies before a part of the model that runs without "
    "gradients"
)

LAYER = frozenset({"activations", "gradients", "linear_head", "excitation"})


@dataclass(frozen=True)
class Trace:
    """What one forward pass leaves behind, detached, in float32 (float64 for such a model).

    Whatever was not asked for is None.

    Parameters
    ----------
    scores
        ``[B, n]``, the logits of a classifier.
    activations
        A of the layer, ``[B, C, h, w]``.
    gradients
        dY/dA of K scores, ``[B, K, C, h, w]``.
    linear_head
        Whether nothing but a mean over the grid and linear layers lies between A and the scores.
    excitation
        Contrastive winning probabilities of A for K scores, ``[B, K, C, h, w]``. They take the
        place of gradients: ask for nothing else beside them.
    gradient, guided, deconvolved
        Gradients of the scores in the image, ``[B, K, C, H, W]``: plain, and by the rules for
        ReLUs of guided backpropagation and of deconvolution (:data:`RULES`).
    """

    scores: Tensor
    activations: Tensor | None = None
    gradients: Tensor | None = None
    linear_head: bool | None = None
    excitation: Tensor | None = None
    gradient: Tensor | None = None
    guided: Tensor | None = None
    deconvolved: Tensor | None = None


def trace(
    model: nn.Module,
    images: Tensor,
    question: Question,
    *,
    layer: str | None,
    needs: Collection[str],
) -> Trace:
    """Run the model once and go back from the scores in question.

    Where nothing is needed in the image, the graph begins at the layer's output: what comes before
    it is an ordinary forward pass that stores nothing, and only the head is differentiated. Else,
    or where the layer lies in a checkpoint, the graph begins at the image; the gradient in the
    layer is still the plain one.

    Parameters
    ----------
    model
        The model; left as it was.
    images
        ``[B, C, H, W]``; left as they are.
    question
        Which scores to explain.
    layer
        Dotted name of the layer; needed for what is looked at in one.
    needs
        Names of the fields of :class:`Trace` to fill.

    Raises
    ------
    ModelError
        If the model cannot be explained so: no such layer, called more than once, not on the path
        of the score; a rule for ReLUs that is not defined for it; a wrapper that hides its layers.
    ValueError
        If images, targets or a token grid have the wrong shape, or a class is out of range.
    """
    check_images(images)
    rules = [rule for rule in RULES if rule in needs]
    tapped = layer if LAYER.intersection(needs) else None
    excite = "excitation" in needs
    passes = partial(_passes, model, images, question, tapped, rules, excite=excite)
    with undisturbed(model):
        if not rules:
            # A checkpoint recomputed while going back does not see where the graph was cut.
            with suppress(CheckpointError):
                return passes(cut=True)
        try:
            return passes(cut=False)
        except CheckpointError as error:
            raise ModelError(
                "the model's checkpoints cannot be recomputed; switch checkpointing off"
            ) from error


def _passes(
    model: nn.Module,
    images: Tensor,
    question: Question,
    layer: str | None,
    rules: Sequence[str],
    *,
    excite: bool,
    cut: bool,
) -> Trace:
    """One forward pass and those back, with the graph cut at the layer or from the image on."""
    picture = images.detach().clone().requires_grad_(not cut)
    tap = _Tap(model, layer, cut=cut, skip=cut and not excite) if layer is not None else None
    with tap or nullcontext(), Excitations() if excite else nullcontext():
        scores = question.scores(model(picture.clone()), len(images))
    if tap is not None:
        tap.check(scores)
    elif not scores.requires_grad:
        raise ModelError(_OFF_PATH.format("the image"))
    refuse_checkpoints(scores)
    is_classifier = isinstance(question, ClassScores)
    with probabilities_skipped(scores) if is_classifier else nullcontext():
        directions = question.directions(scores)
        found: dict[str, Any] = {}
        if tap is not None:
            look = _excitation_in_layer if excite else _in_layer
            found = look(tap, scores, directions, images, keep=bool(rules))
        for rule in rules:
            keep = rule != rules[-1]
            with RULES[rule](scores, picture):
                by_score = _one_by_one(scores, picture, directions, "the image", keep=keep)
            found[rule] = settled(by_score).transpose(0, 1)
    return Trace(settled(scores), **found)


def _in_layer(
    tap: _Tap, scores: Tensor, directions: Tensor, images: Tensor, *, keep: bool
) -> dict[str, Any]:
    """Activations and gradients on the grid of the layer, and whether its head is linear."""
    grid = tap.grid((images.shape[-2], images.shape[-1]))
    linear = is_linear(scores, tap.output)
    tokens = grid.layout == "tokens"
    gradients_of = _one_by_one if tokens else _together  # on a ViT's block 2.2 x against 3 x F
    by_score = gradients_of(scores, tap.output, directions, tap.where, keep=keep or tokens)
    gradients = grid(by_score)
    if tokens and not gradients.any():
        tap.check_patches(scores, grid)
    return {
        "activations": settled(grid(tap.output)),
        "gradients": settled(gradients).transpose(0, 1),
        "linear_head": linear,
    }


def _excitation_in_layer(
    tap: _Tap, scores: Tensor, directions: Tensor, images: Tensor, *, keep: bool
) -> dict[str, Any]:
    """Contrastive winning probabilities on the grid of the layer."""
    grid = tap.grid((images.shape[-2], images.shape[-1]))
    with contrastive(scores, tap.output):
        won = _one_by_one(scores, tap.output, directions, tap.where, keep=keep)
    return {"excitation": settled(grid(won)).transpose(0, 1)}


class _Tap:
    """Catches the output of a layer during a forward pass: a tensor, or a tuple of one and Nones.

    Parameters
    ----------
    model, layer
        Where.
    cut
        Whether the graph begins here: the output is detached, made a leaf, and gradients are
        switched on for what follows (the model may have switched them off).
    skip
        Whether going back skips tokens (:class:`TokensSkipped`) in what follows.
    """

    output: Tensor

    def __init__(self, model: nn.Module, layer: str, *, cut: bool, skip: bool) -> None:
        self.where = f"layer '{layer}'"
        self.cut, self.skip = cut, skip
        self.calls = 0
        self._module = layer_named(model, layer)

    def __enter__(self) -> None:
        self._undo = ExitStack()
        self._undo.callback(self._module.register_forward_hook(self._catch).remove)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def _catch(self, _: nn.Module, args: Any, output: Any) -> Any:
        self.calls += 1
        found = output
        if type(output) is tuple and output and all(other is None for other in output[1:]):
            found = output[0]
        if not isinstance(found, Tensor):
            raise ModelError(
                f"{self.where} returns {type(output).__name__}; choose one that returns a tensor"
            )
        self.output = found.clone()  # what comes before may be written to in place,
        if self.cut:
            self.output = self.output.detach().requires_grad_()
            torch.set_grad_enabled(True)
        if self.skip and self.calls == 1:  # not before, where it would cost the trunk its fast path
            self._undo.enter_context(TokensSkipped())
        passed_on = self.output.clone()  # and so may what follows
        return passed_on if found is output else (passed_on, *output[1:])

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

    def grid(self, size: tuple[int, int]) -> Grid:
        """The grid of the output.

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
        return grid

    def check_patches(self, logits: Tensor, grid: Grid) -> None:
        """Refuse a layer on whose patches the score does not depend, only on tokens before them.

        It costs a backward pass: only to be asked where all gradients are 0.

        Raises
        ------
        ModelError
            In that case.
        """
        matters = depends(logits, self.output)
        if matters is None or not grid(matters).any():
            raise ModelError(
                f"the score does not depend on the patch tokens of {self.where}, only "
                "on those before them; choose an earlier layer (find_layer names one)"
            )


def _together(logits: Tensor, tensor: Tensor, seeds: Tensor, where: str, *, keep: bool) -> Tensor:
    """Gradients of K scores, ``[K, *tensor.shape]``, in one backward pass of K times the size.

    One by one where the head has no batched form.
    """
    if len(seeds) > 1:
        with suppress(RuntimeError):
            return _gradient(logits, tensor, seeds, where, keep=True, batched=True)
    return _one_by_one(logits, tensor, seeds, where, keep=keep)


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
