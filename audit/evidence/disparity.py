"""Disparity of attention: whether a region is looked at more in some subgroup of a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from audit.evidence.bootstrap import difference_of_means
from audit.evidence.inputs import Inputs, Mask, Row
from audit.evidence.intervals import Codes, Floats
from audit.evidence.permutation import TIE, Blocks, Bools, permutation_p, side_by_side
from audit.evidence.shares import RESAMPLES
from audit.evidence.signflip import generator

MEASURE = "disparity"
METHOD = "grad-cam"


@dataclass(frozen=True)
class Sides:
    """Each subgroup and the rest of its class, as means of clusters.

    Attributes
    ----------
    inside, outside
        [regions, c, subgroups] mean over a cluster's samples in the subgroup, and over its others;
        NaN where it has none.
    """

    inside: Floats
    outside: Floats

    @property
    def effect(self) -> Floats:
        """[regions, subgroups] difference of the means over clusters."""
        effect: Floats = np.nanmean(self.inside, axis=1) - np.nanmean(self.outside, axis=1)
        return effect

    @property
    def clusters(self) -> Codes:
        """[subgroups] clusters of the smaller side."""
        first, second = ((~np.isnan(side[0])).sum(axis=0) for side in (self.inside, self.outside))
        smaller: Codes = np.minimum(first, second)
        return smaller


def disparity(inputs: Inputs) -> list[Row]:
    """Mean log inside/outside ratio of a subgroup less that of the rest, per region and class.

    Of the maps that explain the true class; every cluster counts the same on either side, also
    one that is on both. p is two-sided, by permutation: of whole clusters where the attribute is
    the same for all of a cluster, and of the samples within a cluster where it varies. The
    interval resamples clusters. ``margin_effect`` is Hedges' g, in SDs between clusters. The
    clusters are those of the smaller side, the one that limits the comparison.
    """
    jobs = [
        (target, regions, used, attribute)
        for target in inputs.classes
        for regions, used in inputs.on_the_same_samples(METHOD, inputs.label == target)
        for attribute in inputs.levels
    ]
    return list(chain(*side_by_side(lambda job: list(_rows(inputs, *job)), jobs)))


def _rows(
    inputs: Inputs, target: str, regions: list[str], used: Mask, attribute: str
) -> Iterator[Row]:
    config = inputs.config
    names, codes = inputs.levels[attribute]
    present = np.unique(codes[used])
    if present.size < 2:
        return
    levels = np.searchsorted(present, codes[used])
    _, clusters = np.unique(inputs.cluster[used], return_inverse=True)
    values = np.stack([inputs.measured[METHOD, region].log_rho[used] for region in regions])
    sides = sides_of(values, levels, clusters)
    name = (MEASURE, target, attribute)
    p = exchange_p(
        values,
        levels,
        clusters,
        generator(config.seed, *name),
        config.statistics.resamples,
        inputs.screen_resamples,
    )
    standardised = hedges_g(sides)
    intervals = difference_of_means(
        sides.inside,
        sides.outside,
        config.statistics.confidence,
        min(config.statistics.resamples, RESAMPLES),
        generator(config.seed, *name, "interval"),
    )
    for i, region in enumerate(regions):
        shown = (inputs.label == target) & inputs.shows(region)
        for j, level in enumerate(present):
            inside = codes == level
            n = int((used & inside).sum())
            yield Row(
                measure=MEASURE,
                region=region,
                role=config.regions.role(region, target),
                target_class=target,
                attribute=attribute,
                subgroup=names[level],
                act=f"explain:{METHOD}",
                n=n,
                clusters=int(sides.clusters[j]),
                excluded=int((shown & inside).sum()) - n,
                margin_effect=float(standardised[i, j]),
                p=float(p[i, j]),
                interval=intervals[i][j],
            )


def sides_of(values: Floats, levels: Codes, clusters: Codes) -> Sides:
    """Means of each cluster within each subgroup and outside it.

    Parameters
    ----------
    values
        [regions, n].
    levels
        [n] 0 ... subgroups - 1, the subgroup of each sample.
    clusters
        [n] 0 ... c - 1.
    """
    c, k = int(clusters.max()) + 1, int(levels.max()) + 1
    place = clusters * k + levels
    count = np.bincount(place, minlength=c * k).reshape(c, k)
    total = np.stack([np.bincount(place, row, c * k).reshape(c, k) for row in values])
    others = np.stack([total[:, :, np.arange(k) != j].sum(axis=2) for j in range(k)], axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Sides(total / count, others / (count.sum(axis=1, keepdims=True) - count))


def hedges_g(sides: Sides) -> Floats:
    """[regions, subgroups] difference in pooled SDs of the clusters, corrected for small samples.

    Hedges, Journal of Educational Statistics 6 (1981) 107-128, with J = 1 - 3 / (4 df - 1); NaN
    where nothing varies.
    """
    both = (sides.inside, sides.outside)
    n1, n2 = ((~np.isnan(side)).sum(axis=1) for side in both)
    centred = (side - np.nanmean(side, axis=1, keepdims=True) for side in both)
    squares = sum(np.nansum(np.square(side), axis=1) for side in centred)
    df = n1 + n2 - 2
    with np.errstate(invalid="ignore", divide="ignore"):
        g: Floats = sides.effect / np.sqrt(squares / df) * (1 - 3 / (4 * df - 1))
    return np.where(np.isfinite(g), g, np.nan)


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
    depend on its place alone.

    Parameters
    ----------
    values, levels, clusters
        As in :func:`sides_of`.
    rng, resamples, most
        See :func:`~audit.evidence.permutation.permutation_p`.
    """
    units, weights, blocks_of_units = exchanged(values, levels, clusters)
    seen = np.abs(units @ weights)
    least = seen - TIE * (np.abs(units) @ np.abs(weights))

    def exceeds(permutations: Codes, wanted: Bools) -> Bools:
        found = np.zeros((len(permutations), *seen.shape), dtype=np.bool_)
        for i in np.flatnonzero(wanted.reshape(seen.shape).any(axis=1)):
            found[:, i] = np.abs(np.take(units[i], permutations) @ weights) >= least[i]
        return found.reshape(len(permutations), -1)

    blocks = Blocks(blocks_of_units)
    return permutation_p(exceeds, seen.size, blocks, rng, resamples, most).reshape(seen.shape)


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
