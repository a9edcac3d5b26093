"""What is explained: class logits, or any differentiable score of the model's output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.errors import ModelError

Output = Callable[[Any], Tensor]
ChooseTargets = Callable[[Tensor], Tensor]
Targets = Sequence[int] | Tensor | Callable[[Any], Tensor]


class Question(Protocol):
    """K scores of each image, to be explained."""

    def scores(self, result: Any, batch: int) -> Tensor:
        """``[B, n]`` numbers, with their graph, from what the model returned for B images."""

    def directions(self, scores: Tensor) -> Tensor:
        """The vectors ``[K, B, n]`` that pick each of K scores from these numbers."""


@dataclass(frozen=True)
class ClassScores:
    """The logits of some classes.

    Parameters
    ----------
    choose
        From the detached logits ``[B, n]`` to the class ids to explain, ``[B]`` or ``[B, K]``.
    output
        Picks the logits ``[B, n]`` from what the model returns; None: it returns them.
    """

    choose: ChooseTargets
    output: Output | None = None

    def scores(self, result: Any, batch: int) -> Tensor:
        """The logits ``[B, n]``."""
        return logits_of(result, self.output, batch)

    def directions(self, scores: Tensor) -> Tensor:
        """See :func:`cotangents`."""
        with torch.no_grad():
            targets = check_targets(self.choose(settled(scores)), len(scores)).to(scores.device)
        return cotangents(scores, targets.reshape(len(scores), -1))


@dataclass(frozen=True)
class FreeScores:
    """Any differentiable scores of the output, such as the log-likelihood of a caption.

    Parameters
    ----------
    score
        From what the model returns to ``[B]`` or ``[B, K]`` scores; an image's scores must depend
        on that image alone.
    """

    score: Callable[[Any], Tensor]

    def scores(self, result: Any, batch: int) -> Tensor:
        """The scores as ``[B, K]``."""
        found = self.score(result)
        if not isinstance(found, Tensor) or found.ndim not in (1, 2) or len(found) != batch:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"targets: the score gave {shape}, wanted [{batch}] or [{batch}, K]")
        return found.reshape(batch, -1)

    def directions(self, scores: Tensor) -> Tensor:
        """Each score by itself."""
        eye = torch.eye(scores.shape[1], dtype=scores.dtype, device=scores.device)
        return eye[:, None].expand(-1, len(scores), -1)


def settled(tensor: Tensor) -> Tensor:
    """Detached, and at least float32."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


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
