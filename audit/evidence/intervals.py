"""Intervals that respect clusters and are always defined, even at zero events.

A cluster is what was sampled independently. Rates use score intervals (Wilson; Newcombe for paired
rates; MOVER for their mean) at an effective number of samples; where every cluster is one sample
these are the plain forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """An estimate, its two-sided interval and its two one-sided limits; NaN where undefined."""

    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    lower_limit: float = math.nan
    upper_limit: float = math.nan


def interval_of(
    effect: float, confidence: float, bounds: Callable[[float], tuple[float, float]]
) -> Interval:
    """Interval from ``bounds(alpha)``, the limits that leave alpha / 2 outside on either side."""
    low, high = bounds(1 - confidence)
    lower_limit, upper_limit = bounds(2 * (1 - confidence))
    return Interval(effect, low, high, lower_limit, upper_limit)


def distinct(clusters: Codes) -> int:
    """Number of clusters."""
    return int(np.unique(clusters).size)


def cluster_sums(values: Floats, clusters: Codes) -> Floats:
    """Sum of the values in each cluster, in the order of the cluster codes.

    >>> cluster_sums(np.array([1.0, 2.0, 4.0]), np.array([7, 3, 7]))
    array([2., 5.])
    """
    _, inverse = np.unique(clusters, return_inverse=True)
    return np.bincount(inverse, weights=values).astype(np.float64, copy=False)


def equal_weights(clusters: Codes, stands_for: Floats | None = None) -> Floats:
    """Weights of the samples, summing to 1, under which every cluster counts the same.

    A cluster is one observation, however many pictures were taken of it; with weights by size, one
    large cluster would decide while the count of clusters hides it. Where clusters were drawn, each
    counts for as many as it ``stands_for`` ([n], the same within a cluster; Hajek 1971), so that
    the mean is that of the clusters that were drawn from.

    >>> equal_weights(np.array([7, 3, 7]))
    array([0.25, 0.5 , 0.25])
    >>> equal_weights(np.array([7, 3, 7]), np.array([3.0, 1.0, 3.0]))
    array([0.375, 0.25 , 0.375])
    """
    _, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    weights: Floats = 1 / (sizes.size * sizes[inverse].astype(np.float64))
    if stands_for is not None and np.unique(stands_for).size > 1:
        weights = weights * stands_for
        weights /= weights.sum()
    return weights


def effective_clusters(weights: Floats, clusters: Codes) -> float:
    """Number of clusters of equal weight that would average as much (Kish 1965).

    >>> effective_clusters(np.array([0.25, 0.25, 0.5]), np.array([0, 0, 1]))
    2.0
    """
    return float(1 / np.square(cluster_sums(weights, clusters)).sum())


def _unit_variance(values: Floats, weights: Floats) -> float:
    """Variance of one sample, unbiased where the weights are equal."""
    n = values.size
    mean = float(weights @ values)
    return float(weights @ np.square(values - mean)) * n / (n - 1) if n > 1 else 0.0


def clustered_variance(contributions: Floats, clusters: Codes) -> float:
    """Variance of a sum of contributions (less their expectation), clusters being independent."""
    c = distinct(clusters)
    return float(np.square(cluster_sums(contributions, clusters)).sum()) * c / (c - 1)


def effective_size(values: Floats, weights: Floats, clusters: Codes, alpha: float) -> float:
    """Number of independent samples that would tell as much about a weighted mean.

    n over the design effect (the variance of the estimate over that of a plain mean of n
    independent samples, Kish 1965), times (t[n-1] / t[c-1])^2, because the design effect itself
    rests on only c clusters (Korn and Graubard 1998). Where nothing varies there is nothing to
    estimate it from, and each cluster counts as one sample.

    Parameters
    ----------
    values
        [n] one value per sample.
    weights
        [n] their weights, summing to 1.
    clusters
        [n] cluster of each sample.
    alpha
        What the interval leaves outside, on both sides together.

    >>> effective_size(np.array([0.0, 0.0, 1.0, 1.0]), np.full(4, 0.25), np.arange(4), 0.05)
    4.0
    >>> round(effective_size(np.zeros(6), np.full(6, 1 / 6), np.arange(6) // 2, 0.05), 1)
    1.1
    """
    n, c = values.size, effective_clusters(weights, clusters)
    if distinct(clusters) == 1:
        return 1.0
    variance = _unit_variance(values, weights)
    if variance == 0:
        size = c
    else:
        spread = clustered_variance(weights * (values - weights @ values), clusters)
        size = n / max(1.0, spread / (variance / n))
    if c < n:
        few = stats.t.ppf(1 - alpha / 2, n - 1) / stats.t.ppf(1 - alpha / 2, max(c - 1, 1))
        size *= float(few) ** 2
    return max(1.0, size)


def wilson(rate: float, size: float, alpha: float) -> tuple[float, float]:
    """Wilson's score interval of a rate seen in ``size`` independent samples."""
    low, high = proportion_confint(rate * size, size, alpha=alpha, method="wilson")
    return min(float(low), rate), max(float(high), rate)


def newcombe_paired(
    both: float, first: float, second: float, neither: float, *, alpha: float
) -> tuple[float, float]:
    """Newcombe's hybrid-score interval of the difference of two paired rates.

    Method 10 of Newcombe, Statistics in Medicine 17 (1998) 2635-2650: two Wilson intervals squared
    and added, less what the correlation phi of the pairs explains (continuity-corrected).

    Parameters
    ----------
    both, first, second, neither
        Counts of pairs (they may be fractions) in which both, only the first, only the second and
        neither happened.
    alpha
        What the interval leaves outside, on both sides together.

    >>> low, high = newcombe_paired(36, 12, 2, 0, alpha=0.05)
    >>> round(low, 4), round(high, 4)
    (0.0569, 0.3404)
    """
    n = both + first + second + neither
    p1, p2 = (both + first) / n, (both + second) / n
    (l1, u1), (l2, u2) = wilson(p1, n, alpha), wilson(p2, n, alpha)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    cross = both * neither - first * second
    corrected = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = corrected / math.sqrt(margins) if margins > 0 else 0.0

    def joined(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    difference = (first - second) / n
    low = difference - joined(p1 - l1, u2 - p2)
    high = difference + joined(u1 - p1, p2 - l2)
    return max(low, -1.0), min(high, 1.0)


def rate(hits: Floats, clusters: Codes, confidence: float) -> Interval:
    """Rate of an event in clustered samples: Wilson at the effective size.

    Parameters
    ----------
    hits
        [n] 0 or 1 per sample; every sample counts the same.
    clusters
        [n] cluster of each sample.
    confidence
        Of the two-sided interval and of each one-sided limit.
    """
    if hits.size == 0 or np.isnan(hits).any():
        return Interval()
    p = float(hits.mean())
    weights = np.full(hits.size, 1 / hits.size)

    def bounds(alpha: float) -> tuple[float, float]:
        return wilson(p, effective_size(hits, weights, clusters, alpha), alpha)

    return interval_of(p, confidence, bounds)


def paired_excess(
    first: Floats,
    second: Floats,
    clusters: Codes,
    confidence: float,
    also_shared: Sequence[Codes] = (),
    stands_for: Floats | None = None,
) -> Interval:
    """Rate of an event less its rate under the control, in clustered pairs.

    Newcombe's paired hybrid-score interval at the effective size of the pairs' differences.

    Parameters
    ----------
    first, second
        [n] 0 or 1 per pair: the event under the act and under its control.
    clusters
        [n] cluster of each pair; every cluster counts the same.
    confidence
        Of the two-sided interval and of each one-sided limit.
    also_shared
        Other clusterings of the pairs ([n] each), such as by donor. The one that leaves the
        smallest effective size counts.
    stands_for
        [n] clusters that each pair's cluster stands for, see :func:`equal_weights`.
    """
    excess = first - second
    if excess.size == 0 or np.isnan(excess).any():
        return Interval()
    weights = equal_weights(clusters, stands_for)
    effect = float(weights @ excess)
    cells = np.array(
        [
            weights @ (first * second),
            weights @ (first * (1 - second)),
            weights @ ((1 - first) * second),
            weights @ ((1 - first) * (1 - second)),
        ]
    )

    def bounds(alpha: float) -> tuple[float, float]:
        size = min(effective_size(excess, weights, by, alpha) for by in (clusters, *also_shared))
        both, one, other, neither = (cells * size).tolist()
        low, high = newcombe_paired(both, one, other, neither, alpha=alpha)
        return min(low, effect), max(high, effect)

    return interval_of(effect, confidence, bounds)


def group_weights(
    groups: Codes, n_groups: int, clusters: Codes, stands_for: Floats | None = None
) -> Floats:
    """Weights of the samples, summing to 1: groups count the same, and in each its clusters.

    Within a group a cluster counts for as many as it ``stands_for``, see :func:`equal_weights`.

    >>> group_weights(np.array([0, 0, 0, 1]), 2, np.array([5, 5, 6, 5]))
    array([0.125, 0.125, 0.25 , 0.5  ])
    """
    weights = np.zeros(groups.size)
    for group in range(n_groups):
        inside = groups == group
        if inside.any():
            among = None if stands_for is None else stands_for[inside]
            weights[inside] = equal_weights(clusters[inside], among) / n_groups
    return weights
