"""Alignment of random models' maps with a region: the units of the screen's permutation test."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor

from audit.evidence.alignment import Units
from audit.evidence.intervals import Codes, Floats


def mass_of(maps: Tensor) -> Floats:
    """Parts ``[n, cells]`` of the positive sum of maps ``[n, h, w]``; 0 where a map is dead."""
    positive = maps.double().clamp(min=0).flatten(1)
    total = positive.sum(1, keepdim=True)
    mass: Floats = (positive / total.where(total > 0, 1)).cpu().numpy()
    return mass


def cells_of(classes: Codes, clusters: Codes) -> Codes:
    """Cell of each sample, within which masks change places: its class, or one cell for all.

    One for all where a class has fewer than two clusters on average, so that most would have
    nothing to change places with.
    """
    pairs = np.unique(np.stack([classes, clusters]), axis=1).shape[1]
    return classes if pairs >= 2 * np.unique(classes).size else np.zeros_like(classes)


def units_of(mass: Floats, masks: Floats, cells: Codes, clusters: Codes) -> Units:
    """Clusters within cells, each counting the same, that can change places with another.

    Parameters
    ----------
    mass
        ``[n, places]``; samples without any are left out.
    masks
        ``[n, places]``, the region of each sample on the same grid.
    cells, clusters
        ``[n]``.
    """
    live = mass.any(axis=1)
    keys, unit = np.unique(np.stack([cells[live], clusters[live]]), axis=1, return_inverse=True)

    def means(values: Floats) -> Floats:
        return pd.DataFrame(values[live]).groupby(unit.reshape(-1)).mean().to_numpy()

    _, company = np.unique(keys[0], return_inverse=True)
    units = Units(means(mass), means(masks)[None], company)
    return units.take(np.bincount(company)[company] > 1)


def consistent_p(excesses: Floats) -> float:
    """One-sided t-test p of "the excess is above zero" over independent draws of the weights."""
    if excesses.size < 2:
        return float("nan")
    if np.ptp(excesses) == 0:
        return 0.0 if excesses[0] > 0 else 1.0
    return float(stats.ttest_1samp(excesses, 0.0, alternative="greater").pvalue)
