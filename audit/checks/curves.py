"""Deletion and insertion: the score while cells of the picture go, or come, in the map's order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ScoreOf = Callable[[Tensor], Tensor]  # pictures [B, 3, h, w] in 0..1 to a score of each, [B]

STEPS = 8  # parts in which the picture is deleted


def descending(maps: Tensor) -> Tensor:
    """Cells ``[n, cells]`` of maps ``[n, h, w]``, the highest first."""
    return maps.flatten(1).argsort(dim=1, descending=True, stable=True)


def shuffled(n: int, cells: int, seeds: list[int]) -> Tensor:
    """Cells ``[n, cells]`` in a random order for each sample, from a seed of its own."""
    orders = [np.random.default_rng(seed).permutation(cells) for seed in seeds]
    return torch.from_numpy(np.stack(orders)).reshape(n, cells)


def deletion_areas(
    score_of: ScoreOf,
    pictures: Tensor,
    removed: Tensor,
    orders: list[Tensor],
    grid: tuple[int, int],
    steps: int = STEPS,
) -> Tensor:
    """Area under the score as cells of the picture are replaced, order by order.

    Petsiuk et al., RISE, arXiv 1806.07421, section 4.3, with cells of the map's grid for pixels.
    Insertion in an order has the area of deletion in the reverse order, since both pass through
    the same pictures.

    Parameters
    ----------
    score_of
        From pictures to the score of each, without a graph.
    pictures
        ``[n, 3, h, w]`` in 0..1.
    removed
        ``[n, 3, h, w]``, what a cell is replaced with.
    orders
        Each ``[n, cells]``: cells in the order of their deletion.
    grid
        Rows and columns of the map.
    steps
        Parts of the cells after which the score is taken.

    Returns
    -------
    ``[orders, n]``: the mean height of the trapezoids under the score, in its unit.
    """
    whole, gone = score_of(pictures), score_of(removed)
    cells = grid[0] * grid[1]
    areas = []
    for order in orders:
        rank = order.to(pictures.device).argsort(dim=1)
        total = (whole + gone) / 2
        for step in range(1, steps):
            deleted = _pixels(rank < round(cells * step / steps), grid, pictures)
            total = total + score_of(torch.where(deleted, removed, pictures))
        areas.append(total / steps)
    return torch.stack(areas)


def _pixels(cells: Tensor, grid: tuple[int, int], like: Tensor) -> Tensor:
    """Cells ``[n, cells]`` as pixels ``[n, 1, h, w]``: each pixel belongs to one cell."""
    maps = cells.reshape(-1, 1, *grid).float()
    return F.interpolate(maps, size=like.shape[-2:], mode="nearest-exact") > 0
