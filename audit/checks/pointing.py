"""The pointing game, whether the map's maximum lies on what the class is about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audit.attention import measure
from audit.checks.ranks import Floats
from audit.evidence.intervals import Codes

TOP = 5  # classes with the highest logits whose maps play, in the paper

Mask = NDArray[np.bool_]


def pointing_credit(maps: Tensor, core: Tensor) -> Floats:
    """Credit of the maximum of maps ``[n, h, w]`` in core ``[n, h, w]``, on the grid, 0 to 1.

    A cell that lies half in core gives half a hit; equal maxima share. NaN where the map is dead.
    """
    credit: Floats = measure(maps, core[:, None]).pointing[:, 0].cpu().double().numpy()
    return credit


def pointing_with_reject(
    credit: Floats, peaks: Floats, present: Mask, clusters: Codes, rng: np.random.Generator
) -> Floats:
    """Hits of the pointing game with the option to reject (arXiv 1610.02391, section 4.3).

    The maps of the model's first classes play. A class is rejected where its map's maximum is
    below a threshold. Rejecting a class that the picture does not show is a hit; so is pointing at
    core for the one that it shows. Each half of the clusters plays with the threshold that is best
    on the other half, so that no sample chooses its own.

    Parameters
    ----------
    credit
        ``[n, k]``, credit of each map's maximum in core (NaN, a dead map, is none).
    peaks
        ``[n, k]``, maximum of each map.
    present
        ``[n, k]``, whether the class is the one that the picture shows.
    clusters
        ``[n]``.
    rng
        Divides the clusters.

    Returns
    -------
    ``[n]``, the mean over the k maps of a sample, 0 to 1.
    """
    credit = np.nan_to_num(credit, nan=0.0)
    _, code = np.unique(clusters, return_inverse=True)
    half = rng.permutation(code.max() + 1)[code] % 2
    hits = np.empty(len(credit))
    for own in (0, 1):
        here, other = half == own, half != own
        if here.any():
            threshold = best_threshold(credit[other], peaks[other], present[other])
            hits[here] = _hits(credit, peaks, present, threshold)[here].mean(axis=1)
    return hits


def best_threshold(credit: Floats, peaks: Floats, present: Mask) -> float:
    """The threshold with the most hits: a map whose maximum is below it is rejected.

    Midway between two maxima, or below or above all of them; of equals the lowest.
    """
    peak, credit, present = peaks.ravel(), credit.ravel(), present.ravel()
    order = np.argsort(peak, kind="stable")
    pointed = np.where(present, credit, 0.0)[order]
    rejected = (~present[order]).astype(np.float64)
    # The first i maps are rejected, the others point.
    hits = np.concatenate([[0.0], np.cumsum(rejected)]) + np.concatenate(
        [np.cumsum(pointed[::-1])[::-1], [0.0]]
    )
    sorted_peak = peak[order]
    thresholds = np.concatenate(
        [[-np.inf], (sorted_peak[1:] + sorted_peak[:-1]) / 2, [np.inf] * (peak.size > 0)]
    )
    apart = np.concatenate([[True], sorted_peak[1:] > sorted_peak[:-1], [True] * (peak.size > 0)])
    return float(thresholds[np.argmax(np.where(apart, hits, -1.0))])


def _hits(credit: Floats, peaks: Floats, present: Mask, threshold: float) -> Floats:
    rejected = peaks < threshold
    hits: Floats = np.where(present, np.where(rejected, 0.0, credit), rejected.astype(np.float64))
    return hits
