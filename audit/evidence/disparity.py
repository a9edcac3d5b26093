"""Disparity of attention: whether a region is looked at more in some subgroup of a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from audit.evidence.bootstrap import difference_of_means
from audit.evidence.inputs import Inputs, Mask, Row
from audit.evidence.intervals import Codes, Floats
from audit.evidence.permutation import side_by_side
from audit.evidence.shares import RESAMPLES
from audit.evidence.signflip import generator
from audit.evidence.subgroup_exchange import exchange_p

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
    the same for all of a cluster, and of the samples within a cluster where it varies; with 10,000
    clusters on either side it is the normal distribution's, of the mean and variance of all
    permutations. The interval resamples clusters. ``margin_effect`` is Hedges' g, in SDs between
    clusters. The clusters are those of the smaller side, the one that limits the comparison.
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
