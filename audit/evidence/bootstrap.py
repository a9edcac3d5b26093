"""Bootstrap intervals of means over clusters, and of their differences."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audit.evidence.intervals import Codes, Floats, Interval, cluster_sums

# BCa needs a jackknife that means something; beyond the largest size it is the t interval to
# within a few thousandths of the width, and costs the square of the size.
_BCA_CLUSTERS = (10, 1000)
_BATCH = 256  # resamples held at once


def cluster_means(
    values: Floats,
    clusters: Codes,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> list[Interval]:
    """Mean over clusters of their mean value, with a bootstrap interval, for several measures.

    BCa on the cluster means; the t interval where BCa is not defined (few clusters, no spread) or
    no longer differs from it (more than 1,000 clusters).

    Parameters
    ----------
    values
        [measures, n] values per sample, resampled together.
    clusters
        [n] cluster of each sample.
    confidence
        Of the two-sided interval and of each one-sided limit.
    resamples
        Bootstrap resamples.
    rng
        Source of the resampling.
    """
    sizes = cluster_sums(np.ones(clusters.size), clusters)
    means = np.stack([cluster_sums(row, clusters) for row in values]) / sizes
    centre = means.mean(axis=1)
    c = sizes.size
    if c < 2:
        return [Interval(effect=float(mean)) for mean in centre]
    error = means.std(axis=1, ddof=1) / math.sqrt(c)
    few, many = _BCA_CLUSTERS
    drawn = few <= c <= many and bool((np.ptp(means, axis=1) > 0).all())
    if drawn:
        (low, high), (lower, upper) = _bca(means, confidence, resamples, rng)
    else:
        two_sided, one_sided = (stats.t.ppf(q, c - 1) for q in ((1 + confidence) / 2, confidence))
        low, high = centre - two_sided * error, centre + two_sided * error
        lower, upper = centre - one_sided * error, centre + one_sided * error
    return [
        Interval(*map(float, numbers))
        for numbers in zip(centre, low, high, lower, upper, strict=True)
    ]


def _bca(
    means: Floats, confidence: float, resamples: int, rng: np.random.Generator
) -> list[tuple[Floats, Floats]]:
    """Two-sided and one-sided BCa limits of the row means, from one set of resamples."""
    c = means.shape[1]
    total = means.sum(axis=1, keepdims=True)
    drawn = np.empty((resamples, len(means)))
    for start in range(0, resamples, _BATCH):
        rows = slice(start, min(start + _BATCH, resamples))
        chosen = rng.integers(0, c, (rows.stop - start, c))
        drawn[rows] = np.stack([np.take(row, chosen).mean(axis=1) for row in means], axis=1)
    left_out = ((total - means) / (c - 1)).T
    return bca_limits(drawn, means.mean(axis=1), left_out, confidence)


def bca_limits(
    drawn: Floats, estimate: Floats, left_out: Floats, confidence: float
) -> list[tuple[Floats, Floats]]:
    """Two-sided and one-sided BCa limits of several estimates.

    Efron, JASA 82 (1987) 171-185, as ``scipy.stats.bootstrap`` has it, which takes the jackknife
    one resample at a time; here the statistics have it in closed form.

    Parameters
    ----------
    drawn
        [resamples, estimates] of the resampled clusters.
    estimate
        [estimates].
    left_out
        [c, estimates] without each cluster in turn.
    confidence
        Of the two-sided interval and of each one-sided limit.
    """
    below = ((drawn < estimate).mean(axis=0) + (drawn <= estimate).mean(axis=0)) / 2
    bias = stats.norm.ppf(below)
    parts = left_out.mean(axis=0) - left_out
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = (parts**3).sum(axis=0) / (6 * np.square(parts).sum(axis=0) ** 1.5)
    limits = []
    for level in (confidence, 2 * confidence - 1):
        z = stats.norm.ppf([[(1 - level) / 2], [(1 + level) / 2]])
        at = stats.norm.cdf(bias + (bias + z) / (1 - skew * (bias + z)))
        low, high = (
            np.array([_quantile(column, q) for column, q in zip(drawn.T, row, strict=True)])
            for row in at
        )
        limits.append((low, high))
    return limits


def _quantile(values: Floats, q: float) -> float:
    return float(np.quantile(values, q)) if np.isfinite(q) else math.nan


def difference_of_means(
    first: Floats,
    second: Floats,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> list[list[Interval]]:
    """Differences of two means over clusters, with intervals that resample clusters.

    A cluster may be on one side or on both. BCa; the t interval of the linearised difference where
    BCa is not defined (few clusters on a side, no spread) or no longer differs from it (more than
    1,000 clusters).

    Parameters
    ----------
    first, second
        [measures, c, sides] value of each cluster on either side, NaN where it is not on it (the
        same for every measure).
    confidence
        Of the two-sided interval and of each one-sided limit.
    resamples
        Bootstrap resamples.
    rng
        Source of the resampling, the same for all differences.

    Returns
    -------
    list of list of Interval
        [measures][sides].
    """
    c = first.shape[1]
    on = [~np.isnan(side[0]) for side in (first, second)]
    sums = [np.nan_to_num(side) for side in (first, second)]
    sizes = [side.sum(axis=0) for side in on]
    effect = sums[0].sum(axis=1) / sizes[0] - sums[1].sum(axis=1) / sizes[1]
    parts = np.zeros_like(first)
    for sign, side, there, size in zip((1, -1), sums, on, sizes, strict=True):
        mean = side.sum(axis=1, keepdims=True) / size
        parts += sign * np.where(there, side - mean, 0.0) / size
    error = np.sqrt(np.square(parts).sum(axis=1) * c / max(c - 1, 1))
    smaller = np.minimum(*sizes)
    few, many = _BCA_CLUSTERS
    df = np.maximum(smaller - 1, 1)
    t = np.stack([stats.t.ppf((1 + confidence) / 2, df), stats.t.ppf(confidence, df)])
    reach = t[:, None] * np.where(smaller > 1, error, np.nan)
    limits = np.stack([effect - reach[0], effect + reach[0], effect - reach[1], effect + reach[1]])
    if c <= many and (smaller >= few).any():
        drawn = _drawn_differences(sums, on, resamples, rng)
        left_out = _without_each(sums[0], on[0]) - _without_each(sums[1], on[1])
        shape = effect.shape
        bca = bca_limits(
            drawn.reshape(resamples, -1),
            effect.reshape(-1),
            left_out.swapaxes(0, 1).reshape(c, -1),
            confidence,
        )
        found = np.stack([limit.reshape(shape) for pair in bca for limit in pair])
        defined = (smaller >= few) & np.isfinite(found).all(axis=0) & (error > 0)
        limits = np.where(defined, found, limits)
    return [
        [Interval(float(effect[i, j]), *map(float, limits[:, i, j])) for j in range(len(smaller))]
        for i in range(len(first))
    ]


def _drawn_differences(
    sums: list[Floats], on: list[NDArray[np.bool_]], resamples: int, rng: np.random.Generator
) -> Floats:
    """[resamples, measures, sides] the difference when clusters are drawn with replacement."""
    measures, c, k = sums[0].shape
    drawn = np.empty((resamples, measures, k))
    for start in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - start)
        chosen = rng.integers(0, c, (rows, c)) + c * np.arange(rows)[:, None]
        times = np.bincount(chosen.reshape(-1), minlength=rows * c).reshape(rows, c)
        times = times.astype(np.float64)
        means = []
        for side, there in zip(sums, on, strict=True):
            total = times @ side.transpose(1, 0, 2).reshape(c, -1)
            with np.errstate(invalid="ignore", divide="ignore"):
                means.append(total.reshape(rows, measures, k) / (times @ there)[:, None])
        drawn[start : start + rows] = means[0] - means[1]
    return drawn


def _without_each(side: Floats, there: NDArray[np.bool_]) -> Floats:
    """[measures, c, sides] mean over clusters without each in turn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = (side.sum(axis=1, keepdims=True) - side) / (there.sum(axis=0) - there)
    return means
