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

from audit.errors import RunError
from audit.evidence.bootstrap import cluster_means
from audit.evidence.inputs import Inputs, Mask, Row
from audit.evidence.intervals import Codes, Floats, Interval
from audit.evidence.permutation import TIE, Blocks, Bools, permutation_p, side_by_side
from audit.evidence.shares import RESAMPLES
from audit.evidence.signflip import generator

MEASURE = "alignment"
METHOD = "grad-cam"

MOST_CLUSTERS = 512  # of a class that are permuted: a matrix of their pairs is held
MIN_STRATUM = 5  # clusters that strata must have on average, else coarser ones are used

Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Grids:
    """Maps and masks on the axis of the samples, on one grid.

    Attributes
    ----------
    mass
        [n, cells] positive part of the map, of sum 1; 0 where there is none.
    masks
        [n, regions, cells] part of each cell in each region, in the order of the configuration.
    """

    mass: Grid
    masks: NDArray[np.float16]


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
    grids = read_grids(inputs)
    if grids is None:
        return []
    there = grids.mass.any(axis=1)
    jobs = [
        (target, regions, used)
        for target in inputs.classes
        for regions, used in inputs.on_the_same_samples(METHOD, (inputs.label == target) & there)
    ]
    return list(chain(*side_by_side(lambda job: list(_rows(inputs, grids, *job)), jobs)))


def read_grids(inputs: Inputs) -> Grids | None:
    """Maps of the true class and their masks as arrays; None where there are no maps.

    Raises
    ------
    RunError
        If a sample has two maps, or sizes do not agree.
    """
    table = inputs.maps[inputs.maps["explained"] == "true"]
    if table.empty:
        return None
    inputs.on_axis(table, "its map")
    sizes = {len(row) for row in table["map"]}
    regions = len(inputs.config.regions.names)
    if len(sizes) > 1 or {len(row) for row in table["masks"]} != {regions * min(sizes)}:
        raise RunError(
            f"maps: not all of one grid with masks of {regions} regions; run the audit again"
        )
    at, cells, n = table["at"].to_numpy(), min(sizes), len(inputs.samples)
    raw = np.stack(table["map"].to_list()).astype(np.float32, copy=False).clip(min=0)
    peak = raw.max(axis=1, keepdims=True)
    scaled = raw / np.where(peak > 0, peak, 1)  # so that no sum is too small or large
    mass = np.zeros((n, cells), dtype=np.float32)
    mass[at] = scaled / np.maximum(scaled.sum(axis=1, keepdims=True), 1)
    masks = np.zeros((n, regions, cells), dtype=np.float16)
    masks[at] = np.stack(table["masks"].to_list()).reshape(-1, regions, cells)
    return Grids(mass, masks)


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


def units_of(inputs: Inputs, grids: Grids, regions: list[str], used: Mask) -> tuple[Units, Codes]:
    """Clusters that can exchange their masks, and the number of samples of each."""
    _, clusters, sizes = np.unique(inputs.cluster[used], return_inverse=True, return_counts=True)
    places = [inputs.config.regions.names.index(name) for name in regions]
    units = Units(
        _means(grids.mass[used], clusters, sizes),
        np.stack([_means(grids.masks[used, place], clusters, sizes) for place in places]),
        strata(inputs, used, clusters),
    )
    company = np.flatnonzero(np.bincount(units.strata)[units.strata] > 1)
    by_stratum = company[np.argsort(units.strata[company], kind="stable")]
    return units.take(by_stratum), sizes[by_stratum]


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


def _rows(
    inputs: Inputs, grids: Grids, target: str, regions: list[str], used: Mask
) -> Iterator[Row]:
    config = inputs.config
    intervals, p = [Interval()] * len(regions), np.full(len(regions), np.nan)
    usable = 0
    sizes: Codes = np.zeros(0, dtype=np.intp)
    if used.any():
        units, sizes = units_of(inputs, grids, regions, used)
        usable = int(sizes.sum())
    if sizes.size:
        rng = generator(config.seed, MEASURE, target)
        few = np.sort(rng.permutation(sizes.size)[:MOST_CLUSTERS])
        units, sizes = units.take(few), sizes[few]
        p = exchange_p(units, rng, config.statistics.resamples, inputs.screen_resamples)
        intervals = [
            cluster_means(
                parts[None],
                np.arange(few.size),
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
            n=int(sizes.sum()),
            clusters=sizes.size,
            excluded=int((members & inputs.shows(region)).sum()) - usable,
            p=float(value),
            interval=interval,
        )
