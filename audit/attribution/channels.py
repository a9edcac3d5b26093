"""The channels of a layer: what each sees where, and what it weighs in a score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from audit.attribution.scores import ChooseTargets, ClassScores, Output
from audit.attribution.tracing import trace


@dataclass(frozen=True)
class Channels:
    """Logits, activations and Grad-CAM's weights of one forward pass, detached, float32.

    Parameters
    ----------
    logits
        ``[B, n]``.
    activations
        A of the layer, ``[B, C, h, w]``.
    weights
        ``alpha_k`` of K classes, the mean of dY/dA over the grid, ``[B, K, C]`` (arXiv 1610.02391,
        equation 1).
    """

    logits: Tensor
    activations: Tensor
    weights: Tensor


def channels(
    model: nn.Module,
    images: Tensor,
    choose_targets: ChooseTargets,
    *,
    layer: str,
    output: Output | None = None,
) -> Channels:
    """Activations of a layer and their weights for K classes per image, from one forward pass.

    ``einsum("bkc,bchw->bkhw", weights, activations)`` is Grad-CAM's map as :func:`attribute` gives
    it; parameters and errors are those of that function.

    Parameters
    ----------
    model
        An eager ``torch.nn.Module``; left as it was.
    images
        ``[B, C, H, W]`` floating point, as the model takes them, on its device.
    choose_targets
        From the detached logits ``[B, n]`` to the class ids ``[B, K]``.
    layer
        Dotted name of the layer.
    output
        Picks the logits ``[B, n]`` from what the model returns; None: it returns them.

    Raises
    ------
    ModelError
        If the model cannot be explained so.
    ValueError
        If images or targets have the wrong shape, or a class is out of range.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> found = channels(net, torch.ones(2, 3, 8, 8), lambda z: z.argmax(1)[:, None], layer="0")
    >>> found.activations.shape, found.weights.shape
    (torch.Size([2, 4, 6, 6]), torch.Size([2, 1, 4]))
    """
    question = ClassScores(choose_targets, output)
    traced = trace(model, images, question, layer=layer, needs={"activations", "gradients"})
    assert traced.activations is not None
    assert traced.gradients is not None
    return Channels(traced.scores, traced.activations, traced.gradients.mean((-2, -1)))
