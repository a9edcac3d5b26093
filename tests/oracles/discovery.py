"""Discovery's numbers, cell by cell and permutation by permutation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np


def fires(values: Sequence[float], part: float) -> list[bool]:
    """Which cells exceed the smallest value that at most a part of all cells exceeds."""
    allowed = int(part * len(values))
    threshold = min(t for t in values if sum(v > t for v in values) <= allowed)
    return [v > threshold for v in values]


def overlap(firing: Sequence[bool], mask: Sequence[float]) -> tuple[float, float]:
    """Intersection over union by area, and Loevinger's H."""
    n = len(firing)
    both = union = fired = area = 0.0
    for fire, inside in zip(firing, mask, strict=True):
        both += inside if fire else 0.0
        union += 1.0 if fire else inside
        fired += 1.0 if fire else 0.0
        area += inside
    chance, most = fired * area / n, min(fired, area)
    return (
        both / union if union else 0.0,
        (both - chance) / (most - chance) if most > chance + 1e-9 * n else 0.0,
    )


def attended(maps: np.ndarray, activations: np.ndarray) -> list[float]:
    """Activations of one sample averaged with a map as weights, channel by channel."""
    mass = sum(float(m) for m in maps.ravel())
    found = []
    for channel in activations:
        total = 0.0
        for y in range(maps.shape[0]):
            for x in range(maps.shape[1]):
                total += float(maps[y, x]) * float(channel[y, x])
        found.append(total / mass if mass else 0.0)
    return found


def permutation_p(
    member: Sequence[float], event: Sequence[float], clusters: Sequence[Any]
) -> float:
    """Part of all orders of the clusters whose |covariance| is as large as the one seen."""
    values: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for m, e, c in zip(member, event, clusters, strict=True):
        values[c].append((m, e))
    x = [sum(m for m, _ in pairs) / len(pairs) for pairs in values.values()]
    y = [sum(e for _, e in pairs) / len(pairs) for pairs in values.values()]

    def covariance(order: Sequence[int]) -> float:
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        return abs(sum((x[i] - mean_x) * (y[j] - mean_y) for j, i in enumerate(order)))

    seen = covariance(range(len(x)))
    orders = list(permutations(range(len(x))))
    return sum(covariance(order) >= seen - 1e-12 for order in orders) / len(orders)
