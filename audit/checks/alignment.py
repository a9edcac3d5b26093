"""Alignment of maps with a region, against the masks of other samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from audit.evidence.intervals import Codes, Floats

Matrix = NDArray[np.float64]


def share_matrix(maps: Tensor, masks: Tensor) -> Matrix:
    """Share of each map in each sample's mask.

    Parameters
    ----------
    maps
        ``[n, h, w]``, raw and signed; their positive part counts.
    masks
        ``[n, h, w]``, the region of each sample, pooled to the same grid.

    Returns
    -------
    ``[n, n]`` float64: share of map i in mask j; NaN in the rows of dead maps.
    """
    positive = maps.double().clamp(min=0).flatten(1)
    mass = positive.sum(1, keepdim=True)
    shares = (positive / torch.where(mass > 0, mass, torch.nan)) @ masks.double().flatten(1).T
    matrix: Matrix = shares.cpu().numpy()
    return matrix


def by_cluster(shares: Matrix, cells: Codes, clusters: Codes) -> tuple[Matrix, Codes]:
    """Mean of the matrix over the samples of each unit, and the cell of each unit.

    A unit is a cluster within a cell; every unit counts the same. Dead maps are left out, and
    units without any other.
    """
    live = ~np.isnan(shares).all(axis=1)
    keys = np.stack([cells, clusters])[:, live]
    units, unit = np.unique(keys, axis=1, return_inverse=True)
    average = np.zeros((units.shape[1], keys.shape[1]))
    average[unit.reshape(-1), np.arange(keys.shape[1])] = 1
    average /= average.sum(axis=1, keepdims=True)
    return average @ shares[np.ix_(live, live)] @ average.T, units[0]


def excess(matrix: Matrix, cells: Codes) -> Floats:
    """Share of each unit in its own mask, less its mean share in the masks of its cell.

    The latter is what a permutation of the masks within the cell gives on average.
    """
    same = (cells[:, None] == cells[None, :]).astype(np.float64)
    expected = (matrix * same).sum(axis=1) / same.sum(axis=1)
    difference: Floats = matrix.diagonal() - expected
    return difference


def permutation_p(matrix: Matrix, cells: Codes, resamples: int, rng: np.random.Generator) -> float:
    """One-sided p of "maps lie in their own sample's region", permuting masks within cells.

    ``p = (1 + #{T* >= T}) / (resamples + 1)`` with T the mean of the diagonal.
    """
    n = len(matrix)
    if n == 0:
        return float("nan")
    # Sorted by cell, then by chance: a permutation within every cell.
    start = np.argsort(cells, kind="stable")
    chance = rng.random((resamples, n))
    permuted = np.argsort(cells[start] + chance, axis=1)
    totals = matrix[start[None, :], start[permuted]].sum(axis=1)
    own = matrix.trace()
    return float((1 + (totals >= own - 1e-12 * n).sum()) / (resamples + 1))


def consistent_p(excesses: Floats) -> float:
    """One-sided t-test p of "the excess is above zero" over independent draws of the weights."""
    if excesses.size < 2:
        return float("nan")
    if np.ptp(excesses) == 0:
        return 0.0 if excesses[0] > 0 else 1.0
    return float(stats.ttest_1samp(excesses, 0.0, alternative="greater").pvalue)
