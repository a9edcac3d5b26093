"""p of a difference between a subgroup and the rest of its class: subgroups change places."""

from __future__ import annotations

import numpy as np
from scipy import stats

from audit.evidence.intervals import Codes, Floats
from audit.evidence.permutation import TIE, Blocks, Bools, Subset, permutation_p

# Clusters of the smaller side from which the permutation distribution is taken as normal: beyond
# them permuting costs minutes, and differs by less than two runs of it do.
NORMAL = 10_000
MANY = 100_000  # units, from which small subgroups are looked at one by one
_FEW = 50  # units for each that is drawn, from which drawing a subset is faster than permuting


def exchange_p(
    values: Floats,
    levels: Codes,
    clusters: Codes,
    rng: np.random.Generator,
    resamples: int,
    most: int,
) -> Floats:
    """[regions, subgroups] two-sided p of the difference when the subgroups change places.

    Clusters of one subgroup exchange it as a whole; samples of a cluster with several exchange it
    within the cluster. The difference is then a sum over what is exchanged, with weights that
    depend on its place alone. Of 10,000 clusters on either side p is :func:`normal_p`, but no
    smaller than ``most`` permutations can show.

    Parameters
    ----------
    values, levels, clusters
        [regions, n], [n] and [n], as in :func:`~audit.evidence.disparity.sides_of`.
    rng, resamples, most
        See :func:`~audit.evidence.permutation.permutation_p`.
    """
    units, weights, blocks = exchanged(values, levels, clusters)
    large = _smaller_sides(levels, clusters) >= NORMAL
    if not large.any() and (blocks.any() or units.shape[1] < MANY):
        return _permuted_p(units, weights, blocks, rng, resamples, most)
    p: Floats = np.maximum(normal_p(units, weights, blocks), 1 / (most + 1))
    small = np.flatnonzero(~large)
    if blocks.any():
        p[:, small] = _permuted_p(units, weights[:, small], blocks, rng, resamples, most)
        return p
    for j in small:
        p[:, j] = _subgroup_p(units, weights[:, j], rng, resamples, most)
    return p


def _smaller_sides(levels: Codes, clusters: Codes) -> Codes:
    """[subgroups] clusters of the smaller side."""
    c, k = int(clusters.max()) + 1, int(levels.max()) + 1
    count = np.bincount(clusters * k + levels, minlength=c * k).reshape(c, k)
    others = count.sum(axis=1, keepdims=True) - count
    smaller: Codes = np.minimum((count > 0).sum(axis=0), (others > 0).sum(axis=0))
    return smaller


def _permuted_p(
    units: Floats,
    weights: Floats,
    blocks: Codes,
    rng: np.random.Generator,
    resamples: int,
    most: int,
) -> Floats:
    seen = np.abs(units @ weights)
    least = seen - TIE * (np.abs(units) @ np.abs(weights))

    def exceeds(permutations: Codes, wanted: Bools) -> Bools:
        found = np.zeros((len(permutations), *seen.shape), dtype=np.bool_)
        for i in np.flatnonzero(wanted.reshape(seen.shape).any(axis=1)):
            found[:, i] = np.abs(np.take(units[i], permutations) @ weights) >= least[i]
        return found.reshape(len(permutations), -1)

    found = permutation_p(exceeds, seen.size, Blocks(blocks), rng, resamples, most)
    return found.reshape(seen.shape)


def _subgroup_p(
    units: Floats, weights: Floats, rng: np.random.Generator, resamples: int, most: int
) -> Floats:
    """[regions] p of one subgroup whose clusters are its own: who is in it is drawn, no more."""
    inside = weights > 0
    m = min(int(inside.sum()), int((~inside).sum()))
    if m * _FEW > inside.size:
        blocks = np.zeros(inside.size, dtype=np.intp)
        return _permuted_p(units, weights[:, None], blocks, rng, resamples, most)[:, 0]
    by = 1 / m + 1 / (inside.size - m)
    rest = units.sum(axis=1) / (inside.size - m)
    seen = np.abs(units @ weights)
    least = seen - TIE * (np.abs(units) @ np.abs(weights))

    def exceeds(chosen: Codes, wanted: Bools) -> Bools:
        found = np.zeros((len(chosen), len(units)), dtype=np.bool_)
        for i in np.flatnonzero(wanted):
            found[:, i] = np.abs(np.take(units[i], chosen).sum(axis=1) * by - rest[i]) >= least[i]
        return found

    drawn = Subset(inside.size, m)
    return permutation_p(exceeds, len(units), drawn, rng, resamples, most)


def normal_p(units: Floats, weights: Floats, blocks: Codes) -> Floats:
    """[regions, subgroups] two-sided p from the mean and variance of all exchanges.

    Of ``sum u w`` over a block of n, permuted: n mean(u) mean(w), and SS(u) SS(w) / (n - 1), SS
    the sum of squares about the mean.

    Parameters
    ----------
    units, weights, blocks
        As of :func:`exchanged`.
    """
    _, code, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
    u = [np.bincount(code, row) / sizes for row in units]
    w = [np.bincount(code, row) / sizes for row in weights.T]
    spare = np.maximum(sizes - 1, 1)
    of_u = [np.bincount(code, np.square(row - m[code])) for row, m in zip(units, u, strict=True)]
    of_w = [
        np.bincount(code, np.square(row - m[code])) for row, m in zip(weights.T, w, strict=True)
    ]
    mean = np.stack(u) * sizes @ np.stack(w).T
    error = np.sqrt(np.stack(of_u) / spare @ np.stack(of_w).T)
    seen = np.abs(units @ weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        above, below = (seen - mean) / error, (-seen - mean) / error
    p: Floats = stats.norm.sf(above) + stats.norm.cdf(below)
    return np.where(error > 0, np.minimum(p, 1.0), 1.0)


def exchanged(values: Floats, levels: Codes, clusters: Codes) -> tuple[Floats, Floats, Codes]:
    """What is exchanged: values [regions, u], weights [u, subgroups] of places, blocks [u].

    A unit is a cluster of one subgroup (its mean), or a sample of a cluster with several.
    """
    c, k = int(clusters.max()) + 1, int(levels.max()) + 1
    count = np.bincount(clusters * k + levels, minlength=c * k).reshape(c, k)
    others = count.sum(axis=1, keepdims=True) - count
    with np.errstate(divide="ignore"):
        inside = 1 / ((count > 0).sum(axis=0) * count)
        outside = 1 / ((others > 0).sum(axis=0) * others)
    of_sample = np.where(np.arange(k) == levels[:, None], inside[clusters], -outside[clusters])
    mixed = ((count > 0).sum(axis=1) > 1)[clusters]
    _, pure = np.unique(clusters[~mixed], return_inverse=True)
    sizes = np.bincount(pure)
    first = np.unique(pure, return_index=True)[1]
    means = [np.bincount(pure, row[~mixed]) / sizes for row in values]
    units = np.concatenate([np.reshape(means, (len(values), -1)), values[:, mixed]], axis=1)
    weights = np.concatenate([of_sample[~mixed][first] * sizes[:, None], of_sample[mixed]], axis=0)
    blocks = np.concatenate([np.zeros(sizes.size, dtype=np.intp), 1 + clusters[mixed]])
    return units, weights, blocks
