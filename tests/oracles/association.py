"""Association of label and factor, as slowly and obviously as the definitions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np


def clustered_table(
    label: Sequence[int], factor: Sequence[int], clusters: Sequence[Any], shape: tuple[int, int]
) -> np.ndarray:
    """Every cluster adds 1, parted among the cells of its samples."""
    sizes: dict[Any, int] = defaultdict(int)
    for cluster in clusters:
        sizes[cluster] += 1
    table = np.zeros(shape)
    for i, j, cluster in zip(label, factor, clusters, strict=True):
        table[i, j] += 1 / sizes[cluster]
    return table


def phi_squared(table: np.ndarray) -> float:
    """Chi squared over n, cell by cell."""
    n, total = table.sum(), 0.0
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            expected = table[i].sum() * table[:, j].sum() / n
            if expected > 0:
                total += (table[i, j] - expected) ** 2 / expected
    return float(total / n)


def bergsma_v(table: np.ndarray, n: int) -> float:
    """Equations 4 to 6 of Bergsma (2013)."""
    r, k = (int((table.sum(axis) > 0).sum()) for axis in (1, 0))
    corrected = max(0.0, phi_squared(table) - (r - 1) * (k - 1) / (n - 1))
    if corrected < 1e-9:
        return 0.0
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return min(1.0, math.sqrt(corrected / (min(rows, columns) - 1)))


def information(table: np.ndarray) -> float:
    """Sum of p log2(p / (row times column))."""
    p, bits = table / table.sum(), 0.0
    for i in range(p.shape[0]):
        for j in range(p.shape[1]):
            if p[i, j] > 0:
                bits += p[i, j] * math.log2(p[i, j] / (p[i].sum() * p[:, j].sum()))
    return bits


def against_rest(table: np.ndarray, i: int) -> np.ndarray:
    """The class and all others."""
    return np.stack([table[i], np.delete(table, i, axis=0).sum(0)])


def exact_p(label: Sequence[int], factor: Sequence[int], shape: tuple[int, int]) -> float:
    """Part of all orders of the labels in which phi squared is at least as large."""
    alone = range(len(label))
    observed = phi_squared(clustered_table(label, factor, alone, shape))
    hits = [
        phi_squared(clustered_table(order, factor, alone, shape)) >= observed - 1e-9
        for order in permutations(label)
    ]
    return sum(hits) / len(hits)


def auc(values: Sequence[float], inside: Sequence[float]) -> float:
    """Over all pairs of one of the class and one not, in part where it is so in part."""
    won = pairs = 0.0
    for x, a in zip(values, inside, strict=True):
        for y, b in zip(values, inside, strict=True):
            weight = a * (1 - b)
            pairs += weight
            won += weight * (1.0 if x > y else 0.5 if x == y else 0.0)
    return won / pairs
