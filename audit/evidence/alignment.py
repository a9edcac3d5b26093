"""Alignment of attention with a region: whether maps follow it from picture to picture.

The mean share of a region says little by itself: maps and objects both prefer the centre. Here
masks change places among pictures of the same class and subgroup. It is blind to a region that
hardly moves, so silence clears nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from audit.evidence.bootstrap import cluster_means
from audit.evidence.grids import Grids
from audit.evidence.inputs import Inputs, Mask, Row
from audit.evidence.intervals import Codes, Floats, Interval
from audit.evidence.permutation import TIE, Blocks, Bools, permutation_p, side_by_side
from audit.evidence.shares import RESAMPLES
from audit.evidence.signflip import generator

MEASURE = "alignment"
METHOD = "grad-cam"

MOST_CLUSTERS = 512  # of a class that are permuted: a matrix of their pairs is held
MIN_STRATUM = 5  # clusters that strata must have on average, else coarser ones are used


@dataclass(frozen=True)
class Units:
    """Clusters of one class: what is permuted.

    Attributes
    ----------
    mass, masks
        [c, cells] and [regions, c, cells] means over the samples of each cluster.
    strata
        [c] clusters of the same stratum may exchange their masks.
    """

    mass: Floats
    masks: Floats
    strata: Codes

    def take(self, kept: Mask | Codes) -> Units:
        """Some of the clusters."""
        return Units(self.mass[kept], self.masks[:, kept], self.strata[kept])


def alignment(inputs: Inputs) -> list[Row]:
    """Mean attention share above its mean when masks change places, per region and true class.

    The statistic is the mean over clusters of <map, mask>, each averaged over the cluster's
    samples, which is the mean share where a cluster is one sample. Under the null a cluster's mask
    belongs to its map no more than that of another cluster of the same stratum (see
    :func:`strata`); p is one-sided, over at most 512 clusters of a class, drawn by the seed where
    there are more. The effect is the statistic minus its mean over all exchanges (in closed form,
    of all clusters); that is the mean over clusters of <map - mean map, mask - mean mask>, and the
    interval is that mean's. Maps without positive mass, regions smaller than two grid cells and
    clusters alone in their stratum are excluded, and counted where the picture has the region.
    """
    there = inputs.maps.alive()
    if there is None:
        return []
    drawn = [
        Drawn.of(inputs, target, regions, used)
        for target in inputs.classes
        for regions, used in inputs.on_the_same_samples(METHOD, (inputs.label == target) & there)
    ]
    wanted = np.zeros(there.size, dtype=np.bool_)
    for one in drawn:
        wanted[one.at] = True
    grids = inputs.maps.grids(wanted)
    return list(chain(*side_by_side(lambda one: list(_rows(inputs, grids, one)), drawn)))


@dataclass(frozen=True)
class Drawn:
    """Clusters of one class that are looked at, for the regions measured on the same samples.

    Attributes
    ----------
    target, regions
        The class and the regions.
    usable
        Samples in clusters that can exchange their masks, looked at or not.
    at, clusters
        [m] places of the samples looked at on the axis, ascending, and the cluster of each.
    sizes, strata
        [c] samples of each cluster, and its stratum.
    rng
        What is left of the class's random numbers.
    """

    target: str
    regions: list[str]
    usable: int
    at: Codes
    clusters: Codes
    sizes: Codes
    strata: Codes
    rng: np.random.Generator

    @classmethod
    def of(cls, inputs: Inputs, target: str, regions: list[str], used: Mask) -> Drawn:
        """At most 512 of the clusters that are not alone in their stratum."""
        rng = generator(inputs.config.seed, MEASURE, target)
        at = np.flatnonzero(used)
        _, clusters, sizes = np.unique(inputs.cluster[at], return_inverse=True, return_counts=True)
        levels = strata(inputs, used, clusters) if at.size else sizes
        company = np.flatnonzero(np.bincount(levels)[levels] > 1)
        by_stratum = company[np.argsort(levels[company], kind="stable")]
        usable = int(sizes[by_stratum].sum())
        taken = by_stratum[np.sort(rng.permutation(by_stratum.size)[:MOST_CLUSTERS])]
        number = np.full(sizes.size, -1)
        number[taken] = np.arange(taken.size)
        clusters = number[clusters]
        few = clusters >= 0
        return cls(
            target, regions, usable, at[few], clusters[few], sizes[taken], levels[taken], rng
        )

    def units(self, inputs: Inputs, grids: Grids) -> Units:
        """Their maps and masks."""
        rows = grids.rows(self.at)
        places = [inputs.config.regions.names.index(name) for name in self.regions]
        means = [_means(grids.masks[rows, place], self.clusters, self.sizes) for place in places]
        mass = _means(grids.mass[rows], self.clusters, self.sizes)
        return Units(mass, np.stack(means), self.strata)


def strata(inputs: Inputs, used: Mask, clusters: Codes) -> Codes:
    """Stratum of each cluster of some samples: clusters of the same subgroups.

    By all attributes crossed; where that leaves fewer than 5 clusters a stratum on average, by the
    attribute (or configured crossing) with the most values that leaves enough; else one stratum. A
    cluster in which an attribute varies is of the set of its values. Strata depend on nothing that
    is permuted, so that the test is exact whichever are used.

    Parameters
    ----------
    inputs
        The tables.
    used
        [n] samples of the clusters.
    clusters
        [used] 0 ... c - 1, the cluster of each used sample.
    """
    count = int(clusters.max()) + 1
    by_attribute = [codes[used] for _, codes in inputs.levels.values()]
    finest_first = sorted(by_attribute, key=lambda codes: -np.unique(codes).size)
    for levels in [by_attribute, *([codes] for codes in finest_first)]:
        if levels:
            _, joint = np.unique(np.stack(levels), axis=1, return_inverse=True)
            found = _level_sets(joint.reshape(-1), clusters, count)
            if count >= MIN_STRATUM * (int(found.max()) + 1):
                return found
    return np.zeros(count, dtype=np.intp)


def _level_sets(levels: Codes, clusters: Codes, count: int) -> Codes:
    """[count] code of the set of levels that each cluster has."""
    has = np.zeros((count, int(levels.max()) + 1), dtype=np.bool_)
    has[clusters, levels] = True
    _, first, inverse = np.unique(
        np.packbits(has, axis=1), axis=0, return_index=True, return_inverse=True
    )
    ranks: Codes = np.argsort(np.argsort(first))  # numbered by their first cluster
    return ranks[inverse.reshape(-1)]


def _means(values: NDArray[np.floating], clusters: Codes, sizes: Codes) -> Floats:
    """[c, cells] mean of the rows of each cluster."""
    order = np.argsort(clusters, kind="stable")
    starts = np.cumsum(sizes) - sizes
    sums = np.add.reduceat(values[order].astype(np.float64), starts, axis=0)
    return sums / sizes[:, None]


def contributions(units: Units) -> Floats:
    """[regions, c] each cluster's <map - mean map, mask - mean mask> within its stratum.

    Their mean over clusters is the statistic minus its mean over all exchanges.
    """
    _, inverse, sizes = np.unique(units.strata, return_inverse=True, return_counts=True)
    mass = units.mass - _means(units.mass, inverse, sizes)[inverse]
    return np.stack(
        [
            np.einsum("ck,ck->c", mass, masks - _means(masks, inverse, sizes)[inverse])
            for masks in units.masks
        ]
    )


def exchange_p(units: Units, rng: np.random.Generator, resamples: int, most: int) -> Floats:
    """[regions] p of the mean of <map, mask> when masks change places within strata.

    Parameters
    ----------
    units
        The clusters; all pairs of them are held as a matrix.
    rng, resamples, most
        See :func:`~audit.evidence.permutation.permutation_p`.
    """
    products = np.einsum("ck,rdk->rcd", units.mass, units.masks, optimize=True)
    count = units.strata.size
    flat, row = products.reshape(len(products), -1), np.arange(count) * count
    seen = flat[:, row + np.arange(count)].sum(axis=1)
    least = seen - TIE * np.abs(products).max(axis=2).sum(axis=1)

    def exceeds(permutations: Codes, wanted: Bools) -> Bools:
        found = np.zeros((len(permutations), len(flat)), dtype=np.bool_)
        pairs = row + permutations
        for i in np.flatnonzero(wanted):
            found[:, i] = np.take(flat[i], pairs).sum(axis=1) >= least[i]
        return found

    return permutation_p(exceeds, len(flat), Blocks(units.strata), rng, resamples, most)


def _rows(inputs: Inputs, grids: Grids, drawn: Drawn) -> Iterator[Row]:
    config, target, regions = inputs.config, drawn.target, drawn.regions
    intervals, p = [Interval()] * len(regions), np.full(len(regions), np.nan)
    if drawn.sizes.size:
        units = drawn.units(inputs, grids)
        p = exchange_p(units, drawn.rng, config.statistics.resamples, inputs.screen_resamples)
        intervals = [
            cluster_means(
                parts[None],
                np.arange(drawn.sizes.size),
                config.statistics.confidence,
                min(config.statistics.resamples, RESAMPLES),
                generator(config.seed, MEASURE, target, region),
            )[0]
            for region, parts in zip(regions, contributions(units), strict=True)
        ]
    members = inputs.label == target
    for region, interval, value in zip(regions, intervals, p, strict=True):
        yield Row(
            measure=MEASURE,
            region=region,
            role=config.regions.role(region, target),
            target_class=target,
            act=f"explain:{METHOD}",
            n=int(drawn.sizes.sum()),
            clusters=drawn.sizes.size,
            excluded=int((members & inputs.shows(region)).sum()) - drawn.usable,
            p=float(value),
            interval=interval,
        )
