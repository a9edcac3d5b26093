"""Layers of a model by their dotted names, and the one to explain."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from audit.attribution.graph import depends
from audit.attribution.grids import infer_grid
from audit.attribution.scores import Output, check_images, logits_of
from audit.attribution.state import undisturbed
from audit.errors import ModelError

_POOLING = (
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
)
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
    check_images(images)
    return last_spatial_layer(model, images[:1], lambda result: logits_of(result, output, 1))


def last_spatial_layer(model: nn.Module, images: Tensor, scores_of: Callable[[Any], Tensor]) -> str:
    """As :func:`find_layer`, for any scores of what the model returns for these images."""
    size = (images.shape[-2], images.shape[-1])
    with undisturbed(model):
        image = images.detach().clone().requires_grad_()
        with _recorded(model) as calls:
            scores = scores_of(model(image.clone()))
        if scores.requires_grad:
            for name, tensor in reversed(_candidates(calls)):
                if _spatial(scores, tensor, size):
                    return name
    raise ModelError(
        "no layer with a spatial output was found on the path of the score; name one "
        "(a layer that runs without gradients is not found)"
    )


def _spatial(logits: Tensor, tensor: Tensor, size: tuple[int, int]) -> bool:
    """Whether a layer's output has a grid of several cells on which the logits depend."""
    grid = infer_grid(tuple(tensor.shape), size)
    if grid is None or grid.height * grid.width == 1 or not tensor.requires_grad:
        return False
    matters = depends(logits, tensor)
    return matters is not None and (grid.layout != "tokens" or bool(grid(matters).any()))


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, Any]]]:
    """Name, module and output of every call of a layer, in the order in which calls end."""
    calls: list[tuple[str, nn.Module, Any]] = []

    def record(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            calls.append((name, module, output))

        return hook

    layers = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(record(name)) for name, module in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _candidates(calls: list[tuple[str, nn.Module, Any]]) -> list[tuple[str, Tensor]]:
    """Layers called once whose output is their own and not a pool's."""
    times = Counter(name for name, _, _ in calls)
    pooled = {id(output) for _, module, output in calls if isinstance(module, _POOLING)}
    return [
        (name, output)
        for name, module, output in calls
        if times[name] == 1
        and isinstance(output, Tensor)
        and id(output) not in pooled
        and not isinstance(module, _PASSING)
    ]
