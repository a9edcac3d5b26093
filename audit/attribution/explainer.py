"""Attribution as users and the audit call it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from audit.attribution.graph import refuse_checkpoints
from audit.attribution.layers import last_spatial_layer
from audit.attribution.methods import grad_cam, method_named
from audit.attribution.methods.registry import ByGradient
from audit.attribution.rectifiers import rectifiers
from audit.attribution.scores import (
    ChooseTargets,
    ClassScores,
    FreeScores,
    Output,
    Question,
    Targets,
    check_images,
    check_targets,
    logits_of,
)
from audit.attribution.state import undisturbed
from audit.attribution.tracing import trace
from audit.errors import ModelError


@dataclass(frozen=True)
class Attribution:
    """Logits and maps of one forward pass, detached, on the model's device.

    All are float32, or float64 for a float64 model.

    Parameters
    ----------
    logits
        ``[B, n]``.
    maps
        Grad-CAM, ``[B, K, h, w]``: raw, signed, on the grid of the layer.
    guided
        Guided backpropagation, ``[B, K, C, H, W]``; None if not asked for.
    """

    logits: Tensor
    maps: Tensor
    guided: Tensor | None


def attribute(
    model: nn.Module,
    images: Tensor,
    choose_targets: ChooseTargets,
    *,
    layer: str,
    guided: bool = False,
    output: Output | None = None,
) -> Attribution:
    """Logits, Grad-CAM and guided backpropagation of K classes per image, from one forward pass.

    The model runs in evaluation mode and is left as it was: flags, ``requires_grad``, ``.grad``,
    hooks and grad mode, also after an error. The images are left as they are. Threads that share
    a model wait for each other.

    Parameters
    ----------
    model
        An eager ``torch.nn.Module``.
    images
        ``[B, C, H, W]`` floating point, as the model takes them, on its device.
    choose_targets
        From the detached logits ``[B, n]`` to the class ids to explain, ``[B, K]``, so that
        predicted classes can be explained. Of a single logit ``z``, class 1 has the score ``z``
        and class 0 the score ``-z``.
    layer
        Dotted name of the layer, as :func:`find_layer` gives it.
    guided
        Whether to compute guided backpropagation: one backward pass through the model per class.
    output
        Picks the logits ``[B, n]`` from what the model returns; None: it returns them.

    Raises
    ------
    ModelError
        If the model cannot be explained so, or a map is not finite; says why and what to do.
    ValueError
        If images or targets have the wrong shape, or a class is out of range.

    Warns
    -----
    UserWarning
        If the model ends in a softmax or sigmoid; what goes into it is explained.
    """
    needs = {"activations", "gradients"} | ({"guided"} if guided else set())
    question = ClassScores(choose_targets, output)
    traced = trace(model, images, question, layer=layer, needs=needs)
    maps = ByGradient(grad_cam).of(traced)
    _refuse_not_finite(maps, images, layer)
    if traced.guided is not None:
        _refuse_not_finite(traced.guided, images, None)
    return Attribution(traced.scores, maps, traced.guided)


def explain(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    *,
    method: str,
    layer: str | None = None,
    output: Output | None = None,
) -> Tensor:
    """Attribution of the target classes, or of any other score, by one method.

    Parameters
    ----------
    model
        An eager ``torch.nn.Module``; left as it was (see :func:`attribute`).
    images
        ``[B, C, H, W]`` floating point, on the model's device; left as they are.
    targets
        Class ids: a sequence of B, or a ``[B]`` or ``[B, K]`` tensor. Or a function from what the
        model returns to scores ``[B]`` or ``[B, K]``, each of which depends on its own image alone,
        such as the log-likelihood of a caption.
    method
        A name of :data:`METHODS`.
    layer
        Dotted name of the layer, for the methods that look at one; None: see :func:`find_layer`.
    output
        Picks the logits ``[B, n]`` from what the model returns; None: it returns them. Only for
        class ids.

    Returns
    -------
    Raw, signed, detached, on the device, float32 (float64 for a float64 model). Of grid methods
    ``[B, h, w]``, of input-space methods ``[B, C, H, W]``; with ``[B, K]`` targets, or a function
    that gives several scores, ``[B, K, h, w]`` and ``[B, K, C, H, W]``.

    Raises
    ------
    ModelError
        If the model cannot be explained so, or a map is not finite; says why and what to do.
    ValueError
        If the method is unknown, images or targets have the wrong shape, or a class is out of
        range.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(
    ...     nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(),
    ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ... )
    >>> images = torch.rand(2, 3, 33, 33)
    >>> explain(model, images, [4, 1], method="grad-cam").shape
    torch.Size([2, 16, 16])
    >>> explain(model, images, lambda logits: logits[:, 4] - logits[:, 1], method="cam").shape
    torch.Size([2, 16, 16])
    """
    chosen = method_named(method)
    check_images(images)
    question, several = _question(targets, output, len(images))
    if not chosen.needs_layer:
        layer = None
    elif layer is None:
        layer = last_spatial_layer(
            model, images, lambda result: question.scores(result, len(images))
        ).name
    attribution = chosen(model, images, question, layer)
    _refuse_not_finite(attribution, images, layer)
    return attribution if several or attribution.shape[1] > 1 else attribution[:, 0]


def _question(targets: Targets, output: Output | None, batch: int) -> tuple[Question, bool]:
    """What is asked, and whether for several scores of each image."""
    if callable(targets):
        if output is not None:
            raise ValueError("output: only for class ids; let the score pick what it needs")
        return FreeScores(targets), False
    ids = check_targets(targets, batch)
    return ClassScores(lambda _: ids, output), ids.ndim == 2


def _refuse_not_finite(attribution: Tensor, images: Tensor, layer: str | None) -> None:
    broken = int((~attribution.isfinite()).flatten(1).any(1).sum())
    if broken:
        where = "the image" if layer is None else f"layer '{layer}'"
        raise ModelError(
            f"the attribution in {where} of {broken} of {len(images)} images is not finite (the "
            f"images are {images.dtype}); check the model's weights, or explain it in float32"
        )


def guided_refusal(model: nn.Module, images: Tensor, *, output: Output | None = None) -> str | None:
    """Why guided backpropagation is not defined for a model; None if it is.

    It is defined for networks whose non-linearities are ReLUs (also ReLU6 and clamps from 0).

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
        If the model cannot be explained at all.
    ValueError
        If the images are not ``[B, C, H, W]``.
    """
    check_images(images)
    with undisturbed(model):
        image = images[:1].detach().clone().requires_grad_()
        logits = logits_of(model(image.clone()), output, 1)
        try:
            refuse_checkpoints(logits)
            rectifiers(logits, image)
        except ModelError as refusal:
            return str(refusal)
    return None
