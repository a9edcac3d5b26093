"""Layers of a model by their dotted names, and the one to explain."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audit.attribution.graph import depends
from audit.attribution.grids import Grid, infer_grid
from audit.attribution.scores import Output, check_images, logits_of
from audit.attribution.state import undisturbed
from audit.errors import ModelError

_POOLING = (
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
)
_NAMED = 4  # later layers told in a reason
_PASSING = (nn.Dropout, nn.Dropout2d, nn.Identity)


def layer_named(model: nn.Module, name: str) -> nn.Module:
    """The layer of this dotted name.

    Raises
    ------
    ModelError
        If there is none; names the closest.
    """
    layers: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    if not name or name not in layers:
        names = [layer for layer in layers if layer]
        near = difflib.get_close_matches(name, names, n=3) or names[-3:]
        raise ModelError(f"the model has no layer '{name}'; there are, for instance: {near}")
    return layers[name]


def find_layer(model: nn.Module, images: Tensor, *, output: Output | None = None) -> str:
    """Dotted name of the last layer with a spatial output on the path of the score.

    Pooling is passed over: Grad-CAM's weights are the same before it (the gradient of a pool adds
    up to that of its output), and the grid there is finer. A layer that is called more than once
    is passed over too, for a block that holds it. In a token model it is the last layer whose
    patch tokens still matter, with a class-token head the first normalisation of the last block.
    Tokens that no convolution of the model has a grid for, such as words, are a last resort.
    What matters is read from the structure of the graph, not from gradients, so weights and
    pictures of zeros do as well.

    Parameters
    ----------
    model
        The model; left as it was.
    images
        ``[B, C, H, W]``; the first is used.
    output
        Picks the logits ``[B, n]`` from what the model returns; None: it returns them.

    Raises
    ------
    ModelError
        If there is no such layer.
    ValueError
        If the images are not ``[B, C, H, W]``.
    """
    return layer_choice(model, images, output=output).name


@dataclass(frozen=True)
class LayerChoice:
    """The layer to explain, and why it is that one.

    Parameters
    ----------
    name
        Its dotted name.
    grid
        Height and width of its grid.
    passed_over
        Later layers, the last one first, each with what stands against it.
    """

    name: str
    grid: tuple[int, int]
    passed_over: tuple[tuple[str, str], ...]

    @property
    def reason(self) -> str:
        """One sentence.

        >>> LayerChoice("layer4", (7, 7), (("fc", "no grid"), ("avgpool", "a pool"))).reason
        'layer4 (7 x 7) is the last layer with a grid that the score depends on; after it come \
fc (no grid), avgpool (a pool)'
        """
        height, width = self.grid
        later = [f"{name} ({why})" for name, why in self.passed_over[:_NAMED]]
        more = len(self.passed_over) - len(later)
        later += [f"{more} more"] if more else []
        after = f"; after it come {', '.join(later)}" if later else ""
        return (
            f"{self.name} ({height} x {width}) is the last layer with a grid that the score "
            f"depends on{after}"
        )


def layer_choice(model: nn.Module, images: Tensor, *, output: Output | None = None) -> LayerChoice:
    """As :func:`find_layer`, with the reason."""
    check_images(images)
    return last_spatial_layer(model, images[:1], lambda result: logits_of(result, output, 1))


def last_spatial_layer(
    model: nn.Module, images: Tensor, scores_of: Callable[[Any], Tensor]
) -> LayerChoice:
    """As :func:`layer_choice`, for any scores of what the model returns for these images."""
    size = (images.shape[-2], images.shape[-1])
    passed_over: dict[str, str] = {}
    last_resort: LayerChoice | None = None
    with undisturbed(model):
        image = images.detach().clone().requires_grad_()
        with _recorded(model) as calls:
            scores = scores_of(model(image.clone()))
        grids = _convolved(calls, size)
        for name, module, given, result in reversed(calls) if scores.requires_grad else ():
            why_not = _unfit(name, module, result, calls) or _off_grid(scores, result, size)
            if why_not is None:
                grid = infer_grid(tuple(result.shape), size)
                assert grid is not None
                found = LayerChoice(name, (grid.height, grid.width), tuple(passed_over.items()))
                if not _fits(grid, grids):
                    why_not = "its tokens are no patches"
                elif _is_bypassed(scores, given, result, size):
                    why_not = "patch tokens also go around it"
                else:
                    return found
                last_resort = last_resort or found
            passed_over[name] = why_not
    if last_resort is not None:
        return last_resort
    raise ModelError(
        "no layer with a spatial output was found on the path of the score; name one "
        "(a layer that runs without gradients is not found)"
    )


Call = tuple[str, nn.Module, Any, Any]


def _unfit(name: str, module: nn.Module, result: Any, calls: list[Call]) -> str | None:
    """What stands against a layer before its output is looked at."""
    times = sum(name == other for other, *_ in calls)
    if times > 1:
        return f"called {times} times"
    if not isinstance(result, Tensor):
        return f"returns {type(result).__name__}"
    if any(result is pooled for _, other, _, pooled in calls if isinstance(other, _POOLING)):
        return "a pool"
    return "passes its input on" if isinstance(module, _PASSING) else None


def _off_grid(scores: Tensor, result: Tensor, size: tuple[int, int]) -> str | None:
    """Why a layer's output has no grid of several cells on which the scores depend."""
    grid = infer_grid(tuple(result.shape), size)
    if grid is None:
        return "no grid"
    if grid.height * grid.width == 1:
        return "a single cell"
    matters = depends(scores, result) if result.requires_grad else None
    if matters is None:
        return "not on the score's path"
    if grid.layout == "tokens" and not grid(matters).any():
        return "its patch tokens do not matter"
    return None


def _is_bypassed(scores: Tensor, given: Any, result: Tensor, size: tuple[int, int]) -> bool:
    """Whether the patch tokens given to a layer also reach the scores in another way.

    As they do by keys where the layer makes values of them: it would be a part of what matters.
    """
    if result.ndim != 3 or not isinstance(given, Tensor) or given is result:
        return False
    grid = infer_grid(tuple(given.shape), size)
    if grid is None or grid.layout != "tokens" or not given.requires_grad:
        return False
    handle = result.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
    try:
        matters = depends(scores, given)
    finally:
        handle.remove()
    return matters is not None and bool(grid(matters).any())


def _convolved(calls: list[Call], size: tuple[int, int]) -> set[tuple[int, int]]:
    """Height and width of the grids on which the model has convolutions and pools."""
    grids = [
        infer_grid(tuple(result.shape), size)
        for _, module, _, result in calls
        if isinstance(module, (nn.Conv2d, *_POOLING)) and isinstance(result, Tensor)
    ]
    return {
        (grid.height, grid.width)
        for grid in grids
        if grid is not None and grid.layout == "channels-first"
    }


def _fits(grid: Grid, convolved: set[tuple[int, int]]) -> bool:
    """Whether tokens may be patches: of a convolution's grid, halved where all are patches.

    Words and other sequences have the number of patches of some grid by chance, too.
    """
    if grid.layout != "tokens" or not convolved or (grid.height, grid.width) in convolved:
        return True
    halved = {
        (height >> times, width >> times)
        for height, width in convolved
        for times in range(1, height.bit_length())
        if height % (1 << times) == width % (1 << times) == 0
    }
    return grid.prefix == 0 and (grid.height, grid.width) in halved


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[Call]]:
    """Name, module, first input and output of every call, in the order in which calls end."""
    calls: list[Call] = []

    def record(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            calls.append((name, module, args[0] if args else None, output))

        return hook

    layers = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(record(name)) for name, module in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
