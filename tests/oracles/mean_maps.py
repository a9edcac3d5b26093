"""Mean maps by loops: clusters, their samples, the places of a map, one at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Sample = tuple[Array, Array]  # raw map, mask of the region; both [h, w]
EDGE = 1e-6  # a place on the edge of a picture lies in it


def density(raw: Array) -> Array:
    """Positive part with sum 1, times the number of places."""
    positive = np.array([[max(value, 0.0) for value in line] for line in raw])
    return positive / positive.sum() * raw.size


def picture_mean(clusters: Mapping[str, Sequence[Sample]]) -> Array:
    """Mean over clusters of the mean over their samples."""
    means = []
    for samples in clusters.values():
        total = np.zeros_like(samples[0][0])
        for raw, _ in samples:
            total = total + density(raw)
        means.append(total / len(samples))
    return sum(means[1:], means[0]) / len(means)


def aligned_mean(clusters: Mapping[str, Sequence[Sample]], side: int) -> Array:
    """The same in a frame of ``side`` places, twice as high and wide as the region's box.

    NaN where fewer than half of the clusters, counted by the part of their samples, show it.
    """
    found = np.full((side, side), math.nan)
    for y in range(side):
        for x in range(side):
            total = weight = 0.0
            for samples in clusters.values():
                for raw, mask in samples:
                    top, bottom, left, right = box(mask)
                    row = (top + bottom) / 2 + (bottom - top) * 2 * ((y + 0.5) / side - 0.5)
                    column = (left + right) / 2 + (right - left) * 2 * ((x + 0.5) / side - 0.5)
                    if (
                        -EDGE <= row <= raw.shape[0] + EDGE
                        and -EDGE <= column <= raw.shape[1] + EDGE
                    ):
                        total += bilinear(density(raw), row, column) / len(samples)
                        weight += 1 / len(samples)
            if weight >= len(clusters) / 2:
                found[y, x] = total / weight
    return found


def box(mask: Array) -> tuple[float, float, float, float]:
    """Rectangle with the centre and the spread of a mask whose cells are full of their coverage."""
    sides: list[float] = []
    for axis in (0, 1):
        total = first = second = 0.0
        for place, part in np.ndenumerate(mask):
            start = place[axis]
            total += part
            first += part * (start + 0.5)
            second += part * ((start + 1) ** 3 - start**3) / 3
        centre = first / total
        half = math.sqrt(3 * (second / total - centre**2))
        sides += [centre - half, centre + half]
    top, bottom, left, right = sides
    return top, bottom, left, right


def bilinear(values: Array, row: float, column: float) -> float:
    """Value between the middles of the cells; that of the border cell beyond the last middle."""
    found = 0.0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            down = abs(min(max(row, 0.5), values.shape[0] - 0.5) - (y + 0.5))
            across = abs(min(max(column, 0.5), values.shape[1] - 0.5) - (x + 0.5))
            found += values[y, x] * max(0.0, 1 - down) * max(0.0, 1 - across)
    return found
