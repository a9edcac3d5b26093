"""The explainer checks, written as slowly and obviously as their definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, permutations

import numpy as np
from scipy import stats


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    return float(stats.spearmanr(first.ravel(), second.ravel()).statistic)


def share_in(map_: np.ndarray, mask: np.ndarray) -> float:
    total = inside = 0.0
    for value, part in zip(map_.ravel(), mask.ravel(), strict=True):
        total += max(float(value), 0.0)
        inside += max(float(value), 0.0) * float(part)
    return inside / total


def within_cells(cells: list[int]) -> Iterator[tuple[int, ...]]:
    """Every permutation of the samples that keeps each in its cell."""
    for order in permutations(range(len(cells))):
        if all(cells[i] == cells[j] for i, j in enumerate(order)):
            yield order


def deletion_area(
    score: Callable[[np.ndarray], float],
    picture: np.ndarray,
    removed: np.ndarray,
    order: list[int],
    grid: tuple[int, int],
    steps: int,
) -> float:
    """Trapezoids under the score, cell by cell replaced; the grid divides the picture."""
    height, width = picture.shape[1] // grid[0], picture.shape[2] // grid[1]
    heights = []
    for step in range(steps + 1):
        altered = picture.copy()
        for cell in order[: round(len(order) * step / steps)]:
            top, left = height * (cell // grid[1]), width * (cell % grid[1])
            altered[:, top : top + height, left : left + width] = removed[
                :, top : top + height, left : left + width
            ]
        heights.append(score(altered))
    return sum((a + b) / 2 / steps for a, b in pairwise(heights))


def hits_with_reject(
    credit: np.ndarray, peaks: np.ndarray, present: np.ndarray, threshold: float
) -> float:
    """Hits of all maps together: rejected where absent, pointing where present."""
    hits = 0.0
    for c, peak, there in zip(credit.ravel(), peaks.ravel(), present.ravel(), strict=True):
        if there and peak >= threshold:
            hits += float(c)
        if not there and peak < threshold:
            hits += 1
    return hits


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest set of pixels connected by edges, by flooding."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    best: set[tuple[int, int]] = set()
    while left:
        seed = min(left)
        part, edge = {seed}, [seed]
        while edge:
            y, x = edge.pop()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if near in left and near not in part:
                    part.add(near)
                    edge.append(near)
        left -= part
        if len(part) > len(best):
            best = part
    found = np.zeros_like(mask)
    for y, x in best:
        found[y, x] = True
    return found


def box_overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Pixels in both boxes over pixels in any."""
    pixels = [
        {(y, x) for y in range(box[0], box[2]) for x in range(box[1], box[3])}
        for box in (one, other)
    ]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])
