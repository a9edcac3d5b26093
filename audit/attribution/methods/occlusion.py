"""Occlusion maps: the slow reference that works for any model."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.attribution.methods.registry import ScoresOf, register_trial

PATCH = 0.2  # side of the patch, as part of the image's: 45 of 224 pixels
GRID = 14  # positions along each side


def occlusion(
    scores_of: ScoresOf, images: Tensor, *, patch: float = PATCH, positions: int = GRID
) -> Tensor:
    """How far the score falls when a grey patch hides a place (arXiv 1610.02391, section 5.3).

    Zeiler and Fergus, arXiv 1311.2901, section 4.2. Needs ``1 + positions ** 2`` forward passes
    and nothing of the model but its scores; patches at the border are cut.

    Parameters
    ----------
    scores_of
        From images ``[B, C, H, W]`` to their scores ``[B, K]``.
    images
        ``[B, C, H, W]``, normalised: 0 is grey.
    patch
        Side of the patch, as part of the image's side.
    positions
        Places along each side, evenly spaced: the centres of the cells of the map.

    Returns
    -------
    ``[B, K, positions, positions]``: the score less the score with the place hidden.
    """
    height, width = images.shape[-2:]
    whole = scores_of(images)
    rows = [
        torch.stack(
            [whole - scores_of(_hidden(images, y, x, patch)) for x in _centres(width, positions)],
            -1,
        )
        for y in _centres(height, positions)
    ]
    drops = torch.stack(rows, -2)
    return drops.to(torch.promote_types(drops.dtype, torch.float32))


@register_trial("occlusion")
def _occlusion(scores_of: ScoresOf, images: Tensor) -> Tensor:
    return occlusion(scores_of, images)


def _centres(side: int, positions: int) -> list[float]:
    return [(i + 0.5) * side / positions for i in range(positions)]


def _hidden(images: Tensor, y: float, x: float, patch: float) -> Tensor:
    """The images with a patch around (y, x) grey."""
    height, width = images.shape[-2:]
    top, bottom = round(y - patch * height / 2), round(y + patch * height / 2)
    left, right = round(x - patch * width / 2), round(x + patch * width / 2)
    hidden = images.clone()
    hidden[..., max(top, 0) : bottom, max(left, 0) : right] = 0
    return hidden
