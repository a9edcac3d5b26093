"""How well a number ranks the samples of a class above the others."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from audit.evidence.intervals import (
    Codes,
    Floats,
    Interval,
    clustered_variance,
    interval_of,
    wilson,
)

_NORMAL = 2000  # clusters from which the permutation distribution of ranks is taken as normal
_CELLS = 2**21  # numbers held at once
_TIE = 1e-9  # statistics this close are equal


def auc(
    values: Floats,
    label: Codes,
    clusters: Codes,
    classes: int,
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> list[tuple[Interval, float]]:
    """How well a property ranks each class above the rest, with a permutation p.

    The probability that a cluster of the class has the larger mean value than one of another
    class (ties count half); 0.5 says nothing, 0 and 1 say all. A cluster with several labels
    belongs to each in part. Limits are Wilson's at the number of clusters that DeLong's variance
    (1988) amounts to. p is two-sided, from permuting clusters; with more than 2,000 of them from
    the normal distribution with the mean and variance of all permutations.

    Parameters
    ----------
    values, label, clusters
        [n] of each sample.
    classes
        Number of labels.
    confidence
        Of the two-sided interval and of each one-sided limit.
    resamples
        Random permutations.
    rng
        Source of the permutations.

    Returns
    -------
    One interval and p for each class; NaN where the class has no cluster or all.
    """
    _, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    means = np.bincount(cluster, weights=values) / sizes
    ranks = stats.rankdata(means.round(9)) - 0.5
    belongs = np.zeros((sizes.size, classes))
    np.add.at(belongs, (cluster, label), 1)
    belongs /= sizes[:, None]
    p = _rank_p(ranks, belongs, resamples, rng)
    order = np.argsort(ranks, kind="stable")
    return [
        (_auc_interval(ranks[order], belongs[order, c], confidence), float(p[c]))
        for c in range(classes)
    ]


def _auc_interval(ranks: Floats, inside: Floats, confidence: float) -> Interval:
    """Of clusters sorted by rank."""
    outside = 1 - inside
    n1, n0 = inside.sum(), outside.sum()
    if n1 <= 0 or n0 <= 0:
        return Interval()
    effect = float(inside @ ranks - n1 * n1 / 2) / (n1 * n0)
    below, above = _placed(ranks, outside) / n0, 1 - _placed(ranks, inside) / n1
    effect = min(max(effect, 0.0), 1.0)
    shares = inside * (below - effect) / n1 + outside * (above - effect) / n0
    variance = clustered_variance(shares, np.arange(ranks.size)) if ranks.size > 1 else 0.0
    spread = effect * (1 - effect)
    size = spread / variance if variance > 0 and spread > 0 else math.inf
    size = max(min(size, float(ranks.size)), 1.0) if spread > 0 else float(min(n1, n0))
    return interval_of(effect, confidence, lambda alpha: wilson(effect, size, alpha))


def _placed(ranks: Floats, weights: Floats) -> Floats:
    """Weight of the clusters ranked below each, ties by half; ranks are sorted."""
    upto = np.concatenate([[0.0], np.cumsum(weights)])
    first, last = (np.searchsorted(ranks, ranks, side=side) for side in ("left", "right"))
    placed: Floats = (upto[first] + upto[last]) / 2
    return placed


def _rank_p(ranks: Floats, belongs: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    c = ranks.size
    centred = ranks - ranks.mean()
    away = belongs - belongs.mean(0)
    observed = np.abs(centred @ away)
    defined = (np.square(away).sum(0) > 0) & (np.square(centred).sum() > 0)
    if c > _NORMAL:
        deviation = np.sqrt(np.square(centred).sum() * np.square(away).sum(0) / (c - 1))
        scaled = np.divide(observed, deviation, out=np.zeros_like(observed), where=deviation > 0)
        return np.where(defined, 2 * stats.norm.sf(scaled), np.nan)
    extreme = np.zeros(observed.size)
    batch = max(1, _CELLS // c)
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        shuffled = rng.permuted(np.repeat(centred[None], size, axis=0), axis=1)
        extreme += (np.abs(shuffled @ away) >= observed * (1 - _TIE) - _TIE).sum(0)
    return np.where(defined, (1 + extreme) / (resamples + 1), np.nan)
