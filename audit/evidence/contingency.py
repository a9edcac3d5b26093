"""Two-way tables of clusters: label against the levels of something else, and Cramer's V."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from audit.evidence.intervals import Codes, Floats, Interval

_CELLS = 2**21  # numbers held at once
_TIE = 1e-9  # statistics this close, relative to their size, are equal


@dataclass(frozen=True)
class Crossing:
    """Clusters by what they hold: alike clusters are one kind, with their number.

    Attributes
    ----------
    tables
        [t, r, k] for each kind of cluster the part of its samples at each label and level; sums
        to 1.
    sizes
        [t] samples in a cluster of the kind.
    counts
        [t] clusters of the kind.
    """

    tables: Floats
    sizes: Codes
    counts: Codes

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.counts.sum())

    @property
    def total(self) -> Floats:
        """[r, k] the two-way table in which every cluster counts 1."""
        total: Floats = np.tensordot(self.counts.astype(np.float64), self.tables, 1)
        return total


def cross(label: Codes, factor: Codes, clusters: Codes, shape: tuple[int, int]) -> Crossing:
    """The two-way table of label and factor, cluster by cluster.

    Parameters
    ----------
    label, factor, clusters
        [n] codes of each sample.
    shape
        Number of labels and of levels of the factor.
    """
    _, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    width = shape[0] * shape[1]
    cell = label * shape[1] + factor
    keys, counts = np.unique(cluster * width + cell, return_counts=True)
    owner = keys // width
    pure = np.bincount(owner, minlength=sizes.size) == 1
    inside = pure[owner]
    # size of a pure cluster changes nothing: all its samples are in one cell
    held = np.bincount(keys[inside] % width, minlength=width)
    cells = np.flatnonzero(held)
    dense = np.zeros((int((~pure).sum()), width + 1))
    dense[np.cumsum(~pure)[owner[~inside]] - 1, keys[~inside] % width] = counts[~inside]
    dense[:, -1] = sizes[~pure]
    mixed, often = np.unique(dense, axis=0, return_counts=True)
    tables = np.concatenate([np.eye(width)[cells], mixed[:, :-1] / mixed[:, -1:]])
    return Crossing(
        tables.reshape(-1, *shape),
        np.concatenate([np.ones(cells.size, np.intp), mixed[:, -1].astype(np.intp)]),
        np.concatenate([held[cells], often]),
    )


def mean_square_contingency(tables: Floats) -> Floats:
    """Pearson's phi squared, of the table and of each class against the rest.

    Parameters
    ----------
    tables
        [..., r, k] counts or weights.

    Returns
    -------
    [..., 1 + r]: X^2 / n of the whole table, then of each row against all others. 0 where a
    margin is empty.

    >>> mean_square_contingency(np.array([[30.0, 10.0], [10.0, 30.0]]))
    array([0.25, 0.25, 0.25])
    """
    n = tables.sum((-2, -1), keepdims=True)
    rows = tables.sum(-1, keepdims=True) / n
    columns = tables.sum(-2, keepdims=True) / n
    squared = np.square(tables / n - rows * columns)
    own, others = (
        np.divide(squared, m * columns, out=np.zeros_like(squared), where=m * columns > _TIE)
        for m in (rows, 1 - rows)
    )
    whole = own.sum((-2, -1))[..., None]
    result: Floats = np.concatenate([whole, (own + others).sum(-1)], axis=-1)
    return result


@dataclass(frozen=True)
class Scale:
    """From phi squared to Cramer's V without its bias (Bergsma 2013), for table and classes."""

    bias: Floats
    largest: Floats

    @classmethod
    def of(cls, total: Floats, clusters: int) -> Scale:
        """Scale of a table in which so many clusters count 1 each."""
        r, k = ((total.sum(axis) > 0).sum() for axis in (1, 0))
        rows = np.concatenate([[r], np.full(total.shape[0], 2)])
        spare = max(clusters - 1, 1)
        bias = (rows - 1) * (k - 1) / spare
        levels = np.minimum(rows - (rows - 1) ** 2 / spare, k - (k - 1) ** 2 / spare)
        return cls(bias, np.maximum(levels - 1, 1e-12))

    def v(self, phi_squared: Floats, times: int) -> Floats:
        """V after taking the bias off so many times."""
        corrected = phi_squared - times * self.bias
        corrected = np.where(corrected > _TIE, corrected, 0)
        scaled: Floats = np.sqrt(np.minimum(corrected / self.largest, 1))
        return scaled


def cramers_v(
    crossing: Crossing, confidence: float, resamples: int, rng: np.random.Generator
) -> list[Interval]:
    """Bias-corrected Cramer's V of the table, and of each class against the rest.

    Bergsma, Journal of the Korean Statistical Society 42 (2013) 323-328, with percentile limits
    over resampled clusters. A resample's phi squared has the bias twice, the sample's and its own;
    for the lower limits both are taken off, for the upper ones none, so that neither errs on the
    bold side (simulated: each leaves out 5 % or less at a nominal 5 %, up to 6 % where V is large).
    Where association is perfect so is every resample, and the interval has no width: p and the
    sizes of the cells then say how much that is worth.
    """
    scale = Scale.of(crossing.total, crossing.clusters)
    effect = scale.v(mean_square_contingency(crossing.total), 1)
    if crossing.clusters < 2:
        return [Interval(effect=float(v)) for v in effect]
    drawn = _batched(
        _resampled(crossing, rng), resamples, max(crossing.counts.size, crossing.total.size)
    )
    tail = (1 - confidence) / 2
    quantiles = np.quantile(drawn, [tail, 2 * tail, 1 - 2 * tail, 1 - tail], axis=0)
    low, lower = np.minimum(scale.v(quantiles[:2], 2), effect)
    upper, high = np.maximum(scale.v(quantiles[2:], 0), effect)
    columns = (effect, low, high, lower, upper)
    return [Interval(*map(float, numbers)) for numbers in zip(*columns, strict=True)]


def _resampled(crossing: Crossing, rng: np.random.Generator) -> Callable[[int], Floats]:
    """Tables of clusters drawn with replacement."""
    shares = crossing.counts / crossing.clusters
    return lambda size: np.tensordot(
        rng.multinomial(crossing.clusters, shares, size=size).astype(np.float64),
        crossing.tables,
        1,
    )


def _batched(draw: Callable[[int], Floats], resamples: int, width: int) -> Floats:
    """Statistics [resamples, 1 + r] of tables drawn in batches that fit in memory."""
    batch = max(1, _CELLS // max(width, 1))
    sizes = [min(batch, resamples - start) for start in range(0, resamples, batch)]
    return np.concatenate([mean_square_contingency(draw(size)) for size in sizes])


def permutation_p(crossing: Crossing, resamples: int, rng: np.random.Generator) -> Floats:
    """P values of independence, of the table and of each class against the rest.

    The label of whole clusters is permuted (where it varies in a cluster, its composition is);
    random tables with the margins of the data are just that. Where both vary inside some clusters,
    they are also permuted inside these, and the smaller of both p counts twice.

    Returns
    -------
    [1 + r] p = (1 + #{phi* >= phi}) / (resamples + 1).
    """
    between = _between(crossing, resamples, rng)
    several = [(crossing.tables.sum(axis) > 0).sum(1) > 1 for axis in (1, 2)]
    mixed = several[0] & several[1]
    if not mixed.any():
        return between
    within = _within(crossing, mixed, resamples, rng)
    smaller: Floats = np.minimum(1, 2 * np.minimum(between, within))
    return smaller


def _between(crossing: Crossing, resamples: int, rng: np.random.Generator) -> Floats:
    labels, of_label = _kinds(crossing.tables.sum(2), crossing.counts)
    levels, of_level = _kinds(crossing.tables.sum(1), crossing.counts)
    if min(of_label.size, of_level.size) < 2:  # every order gives the same table
        return np.ones(1 + crossing.total.shape[0])
    observed = np.einsum(
        "t,tr,tk->rk", crossing.counts, crossing.tables.sum(2), crossing.tables.sum(1)
    )
    table = stats.random_table(of_label, of_level, seed=rng)

    def draw(size: int) -> Floats:
        met = table.rvs(size=size).astype(np.float64)
        tables: Floats = np.einsum("bij,ir,jk->brk", met, labels, levels, optimize=True)
        return tables

    return _p(observed, draw, resamples, max(observed.size, of_label.size * of_level.size))


def _kinds(parts: Floats, counts: Codes) -> tuple[Floats, Codes]:
    """Distinct compositions [j, levels] and the clusters of each."""
    found, inverse = np.unique(parts.round(12), axis=0, return_inverse=True)
    return found, np.bincount(inverse.ravel(), weights=counts).astype(np.intp)


def _within(
    crossing: Crossing, mixed: NDArray[np.bool_], resamples: int, rng: np.random.Generator
) -> Floats:
    fixed = np.tensordot(crossing.counts[~mixed].astype(np.float64), crossing.tables[~mixed], 1)
    samples = (crossing.tables * crossing.sizes[:, None, None]).round().astype(np.intp)
    kinds = [
        (
            stats.random_table(samples[t].sum(1), samples[t].sum(0), seed=rng),
            int(crossing.counts[t]),
        )
        for t in np.flatnonzero(mixed)
    ]
    sizes = crossing.sizes[mixed]

    def draw(size: int) -> Floats:
        tables = np.repeat(fixed[None], size, axis=0)
        for (table, count), samples_each in zip(kinds, sizes, strict=True):
            for _ in range(count):
                tables += table.rvs(size=size, method="boyett") / samples_each
        return tables

    return _p(crossing.total, draw, resamples, crossing.total.size)


def _p(observed: Floats, draw: Callable[[int], Floats], resamples: int, width: int) -> Floats:
    limit = mean_square_contingency(observed) * (1 - _TIE) - _TIE**2
    extreme = (_batched(draw, resamples, width) >= limit).sum(0)
    p: Floats = (1 + extreme) / (resamples + 1)
    return p


def mutual_information(table: Floats) -> Floats:
    """Mutual information in bits, of the table and of each class against the rest.

    The plug-in estimate; by chance alone it is about (r - 1) (k - 1) / (2 n ln 2) above zero
    (Miller 1955), which the association table gives beside it.

    >>> mutual_information(np.array([[4.0, 0.0], [0.0, 4.0]]))
    array([1., 1., 1.])
    """
    joint = table / table.sum()
    rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    own = special.rel_entr(joint, rows * columns).sum(1)
    rest = special.rel_entr(np.maximum(columns - joint, 0), (1 - rows) * columns).sum(1)
    bits: Floats = np.concatenate([[own.sum()], own + rest]) / math.log(2)
    return np.maximum(bits, 0)
