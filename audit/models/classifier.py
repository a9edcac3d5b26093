"""A classifier as the audit uses it: pictures in, one logit per audited class out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audit.config import Input
from audit.errors import ModelError


@dataclass(frozen=True)
class Classifier:
    """A frozen model with its preprocessing and its class names.

    Parameters
    ----------
    module
        The model: in eval mode, on ``device``, parameters frozen.
    classes
        Class names in the audit's order.
    outputs
        For each class, the index of the model's output (see :func:`two_sided` for one output).
    input
        How pictures become the model's input.
    device
        Where the model is.
    label_output
        Of a multi-label head, the index of the output that says whether the one label audited
        holds; ``outputs`` are then of that logit's two sides.
    """

    module: nn.Module
    classes: list[str]
    outputs: list[int]
    input: Input
    device: torch.device
    label_output: int | None = None

    def prepare(self, images: Tensor) -> Tensor:
        """Normalised float32 ``[B, 3, h, w]`` on the model's device.

        Parameters
        ----------
        images
            ``[B, 3, h, w]`` on any device: uint8, or floating point in 0..1.
        """
        return normalise(images.to(self.device, non_blocking=True), self.input)

    def logits(self, raw: Any) -> Tensor:
        """Logits ``[B, len(classes)]`` of the audited classes.

        Parameters
        ----------
        raw
            What the model returned: ``[B, K]``, or a tuple, dict or object that holds it; a single
            logit may come as ``[B]``.
        """
        logits = output_columns(raw)
        if self.label_output is not None:
            logits = logits[:, [self.label_output]]
        return two_sided(logits)[:, self.outputs]


def normalise(images: Tensor, config: Input) -> Tensor:
    """``(x - mean) / std`` of uint8 pixels, or of floating-point pixels in 0..1, as float32."""
    pixels = images.float() if images.is_floating_point() else images.float() / 255
    mean = torch.tensor(config.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(config.std, device=images.device).view(1, 3, 1, 1)
    return (pixels - mean) / std


def first_tensor(raw: Any) -> Tensor:
    """The logits in a model's output: a tensor, ``.logits``, or the first tensor of a container.

    Raises
    ------
    ModelError
        If there is none.
    """
    if isinstance(raw, Tensor):
        return raw
    if isinstance(getattr(raw, "logits", None), Tensor):
        found: Tensor = raw.logits
        return found
    values = raw.values() if isinstance(raw, dict) else raw
    if isinstance(raw, dict) and isinstance(raw.get("logits"), Tensor):
        values = [raw["logits"]]
    if isinstance(values, (tuple, list)) or isinstance(raw, dict):
        for value in values:
            if isinstance(value, Tensor):
                return value
    raise ModelError(f"the model returned {type(raw).__name__}, in which there is no tensor")


def output_columns(raw: Any) -> Tensor:
    """The logits in a model's output as ``[B, K]``, where a single logit came without its axis.

    Examples
    --------
    >>> output_columns({"logits": torch.zeros(4)}).shape
    torch.Size([4, 1])
    """
    logits = first_tensor(raw)
    return logits.reshape(-1, 1) if logits.ndim < 2 else logits


def two_sided(logits: Tensor) -> Tensor:
    """``[B, 1]`` as ``[B, 2]``: ``-z/2`` for class 0 and ``+z/2`` for class 1; else unchanged.

    The margin of class 1 is then ``z`` and its softmax ``sigmoid(z)``, as the model was trained,
    and the gradients of the two logits point along ``-z`` and ``+z``, so that a map of either
    class equals the map of ``-z`` or ``+z`` up to the factor 1/2, which no measure sees.

    Examples
    --------
    >>> two_sided(torch.tensor([[3.0]]))
    tensor([[-1.5000,  1.5000]])
    """
    return torch.cat([-logits, logits], dim=1) / 2 if logits.shape[1] == 1 else logits
