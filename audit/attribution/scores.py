"""What goes in and what is explained: images, logits, and the class ids to explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.errors import ModelError

Output = Callable[[Any], Tensor]


def check_images(images: Tensor) -> None:
    """Images must be a floating-point ``[B, C, H, W]``.

    Raises
    ------
    ValueError
        If they are not.
    """
    if images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        raise ValueError(
            f"images: wanted floating point [B, C, H, W] with B > 0, "
            f"got {images.dtype} {list(images.shape)}"
        )


def logits_of(result: Any, output: Output | None, batch: int) -> Tensor:
    """The logits ``[B, n]`` in what the model returned.

    Parameters
    ----------
    result
        What the model returned.
    output
        Takes it and returns the logits; None: it is the logits.
    batch
        B. Logits ``[B]`` are taken as one column.

    Raises
    ------
    ModelError
        If that is not a tensor ``[B, n]``.
    """
    logits = result if output is None else output(result)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"the model returned {type(logits).__name__}, not a tensor of logits; "
            "pick them with output=, for instance output=lambda result: result[0]"
        )
    if logits.ndim == 1:
        logits = logits[:, None]
    if logits.ndim != 2 or len(logits) != batch:
        raise ModelError(f"logits: wanted [{batch}, classes], got {list(logits.shape)}")
    return logits


def check_targets(targets: Sequence[int] | Tensor, batch: int) -> Tensor:
    """Class ids, one or K for each image.

    Parameters
    ----------
    targets
        A sequence of B ids, a ``[B]`` or a ``[B, K]`` tensor.
    batch
        B.

    Returns
    -------
    ``[B]`` or ``[B, K]`` int64.

    Raises
    ------
    ValueError
        If there are fewer or more than the images, or they are not integers.
    """
    ids = torch.as_tensor(targets)
    if ids.ndim not in (1, 2) or len(ids) != batch or ids.numel() == 0:
        raise ValueError(
            f"targets: wanted [{batch}] or [{batch}, K], a row for each image, "
            f"got {list(ids.shape)}"
        )
    if ids.dtype == torch.bool or ids.is_floating_point() or ids.is_complex():
        raise ValueError(f"targets: wanted integer class ids, got {ids.dtype}")
    return ids.long()


def cotangents(logits: Tensor, targets: Tensor) -> Tensor:
    """The vectors that pick each target's score from the logits.

    The score of a class is its logit. Of a single logit ``z`` the score of class 1 is ``z`` and
    that of class 0 is ``-z``.

    Parameters
    ----------
    logits
        ``[B, n]``.
    targets
        ``[B, K]`` int64.

    Returns
    -------
    ``[K, B, n]`` of the logits' dtype.

    Raises
    ------
    ValueError
        If a class is out of range.
    """
    outputs = logits.shape[1]
    classes = max(outputs, 2)
    low, high = (int(extreme) for extreme in torch.aminmax(targets))
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"targets: class {wrong} is out of range, the model has {classes} classes")
    if outputs == 1:
        return (2 * targets.T - 1)[..., None].to(logits.dtype)
    return F.one_hot(targets.T, classes).to(logits.dtype)
