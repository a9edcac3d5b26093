"""Attention measures, one map and one region at a time, in float64 loops."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def share(raw: Array, mask: Array) -> float:
    inside = total = 0.0
    for value, part in zip(raw.ravel(), mask.ravel(), strict=True):
        total += max(value, 0.0)
        inside += max(value, 0.0) * part
    return inside / total if total > 0 else math.nan


def rho(raw: Array, mask: Array) -> float:
    area = float(mask.sum() / mask.size)
    if area in (0.0, 1.0):
        return math.nan
    half_cell = 1 / (2 * mask.size)
    inside = min(max(share(raw, mask), half_cell), 1 - half_cell)
    return (inside / area) / ((1 - inside) / (1 - area))


def pointing(raw: Array, mask: Array) -> float:
    positive = np.maximum(raw, 0)
    if positive.sum() == 0:
        return math.nan
    cells = [
        float(mask[i, j])
        for i in range(mask.shape[0])
        for j in range(mask.shape[1])
        if positive[i, j] == positive.max()
    ]
    return sum(cells) / len(cells)
