"""Accuracy where a subgroup agrees with its class in the training data, less where it conflicts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import Table

from audit.evidence.inputs import Inputs, Mask, Objects, Row
from audit.evidence.intervals import (
    Codes,
    Floats,
    Interval,
    cluster_sums,
    distinct,
    effective_size,
    equal_weights,
    group_weights,
    interval_of,
    wilson,
)
from audit.tables import ALL, UNKNOWN, attribute_column, attributes_of

MEASURE = "aligned_gap"
_BEYOND_CHANCE = 2.0  # adjusted residual, in standard errors


def aligned_gap(inputs: Inputs) -> list[Row]:
    """Accuracy on aligned less that on conflicting samples, per attribute, overall and per class.

    Aligned with its class is a subgroup that the training part has more often in it than label and
    attribute would give if they were independent (:func:`over_represented`); conflicting are the
    others. A class counts where training has such a subgroup and the audit has both kinds. Overall,
    every class counts the same on both sides, so that no mix of easy and hard classes looks like a
    gap. An unknown value is neither, and excluded. Above 0: the model does better where the
    training data's association holds.
    """
    right = (inputs.prediction == inputs.label).astype(np.float64)
    return [
        row
        for attribute in attributes_of(inputs.samples)
        for row in _rows(inputs, attribute, right)
    ]


def over_represented(label: Objects, value: Objects, clusters: Codes) -> dict[str, set[str]]:
    """Class to the subgroups that it has more often than by chance.

    By the adjusted residuals of the label x attribute table of independent units, each cluster
    counting as one: above two standard errors (Haberman, Biometrics 29 (1973) 205-220).

    Parameters
    ----------
    label, value
        [n] class and subgroup of each training sample, as text; "unknown" is left out.
    clusters
        [n] cluster of each sample.

    >>> label = np.repeat(np.array(["nurse", "doctor"], dtype=object), 20)
    >>> gender = np.array((["woman"] * 18 + ["man"] * 2) + (["woman"] * 5 + ["man"] * 15), object)
    >>> over_represented(label, gender, np.arange(40))
    {'doctor': {'man'}, 'nurse': {'woman'}}
    """
    known = value != UNKNOWN
    label, value, clusters = label[known], value[known], clusters[known]
    if np.unique(label).size < 2 or np.unique(value).size < 2:
        return {}
    units = equal_weights(clusters) * distinct(clusters)
    counts = pd.crosstab(label, value, values=units, aggfunc="sum").fillna(0.0)
    residuals = Table(counts, shift_zeros=False).standardized_resids
    more = residuals > _BEYOND_CHANCE
    return {
        str(name): {str(level) for level in more.columns[more.loc[name]]}
        for name in more.index
        if more.loc[name].any()
    }


def _rows(inputs: Inputs, attribute: str, right: Floats) -> list[Row]:
    column = attribute_column(attribute)
    training = inputs.training
    if column not in training or training.empty:
        return []
    leading = over_represented(
        training["label"].to_numpy(object),
        training[column].fillna(UNKNOWN).to_numpy(object),
        pd.factorize(training["cluster_id"].to_numpy(object), sort=True)[0],
    )
    value = inputs.samples[column].astype(object).fillna(UNKNOWN).to_numpy(object)
    aligned = np.array(
        [v in leading.get(name, ()) for name, v in zip(inputs.label, value, strict=True)], np.bool_
    )
    known = value != UNKNOWN
    split = [
        name
        for name in leading
        if (aligned & (inputs.label == name)).any()
        and (~aligned & known & (inputs.label == name)).any()
    ]
    groups = {name: [name] for name in inputs.classes if name in split}
    if split:
        groups = {ALL: split} | groups
    return [
        _row(inputs, attribute, target, names, right, aligned, known)
        for target, names in groups.items()
    ]


def _row(
    inputs: Inputs,
    attribute: str,
    target: str,
    classes: list[str],
    right: Floats,
    aligned: Mask,
    known: Mask,
) -> Row:
    members = np.isin(inputs.label, classes)
    used = members & known
    clusters = inputs.cluster[used]
    codes = pd.Index(classes).get_indexer(pd.Index(inputs.label[used]))
    interval = weighted_difference(
        right[used],
        aligned[used],
        codes,
        len(classes),
        clusters,
        inputs.config.statistics.confidence,
    )
    return Row(
        measure=MEASURE,
        target_class=target,
        attribute=attribute,
        n=int(used.sum()),
        clusters=min(distinct(clusters[side]) for side in (aligned[used], ~aligned[used])),
        excluded=int((members & ~known).sum()),
        interval=interval,
    )


def weighted_difference(
    hits: Floats,
    first: Mask,
    strata: NDArray[np.intp],
    n_strata: int,
    clusters: Codes,
    confidence: float,
) -> Interval:
    """Rate in the first group of samples less the rate in the second.

    Newcombe's hybrid-score interval of two rates (method 10 of Statistics in Medicine 17 (1998)
    873-890): two Wilson intervals, here each at its effective size, squared and added. A cluster
    that has samples of both groups makes the two rates correlated; what that explains is taken off,
    as Zou (2007, American Journal of Epidemiology 166, 756-762) does for any two estimates. Where
    no cluster has both, the correlation is 0 and the interval Newcombe's own.

    Parameters
    ----------
    hits
        [n] 0 or 1 per sample.
    first
        [n] bool, whether it is in the first group.
    strata, n_strata
        [n] stratum of each sample; in each group every stratum counts the same, and in it every
        cluster.
    clusters
        [n] cluster of each sample.
    confidence
        Of the two-sided interval and of each one-sided limit.

    >>> hits = np.repeat([1.0, 0.0, 1.0, 0.0], [56, 14, 48, 32])  # Newcombe's example (a)
    >>> found = weighted_difference(
    ...     hits, np.arange(150) < 70, np.zeros(150, int), 1, np.arange(150), 0.95
    ... )
    >>> round(found.low, 4), round(found.high, 4)
    (0.0524, 0.3339)
    """
    groups = [np.flatnonzero(first), np.flatnonzero(~first)]
    if any(group.size == 0 for group in groups):
        return Interval()
    weights = [group_weights(strata[group], n_strata, clusters[group]) for group in groups]
    p1, p2 = (float(w @ hits[group]) for w, group in zip(weights, groups, strict=True))
    deviations = np.zeros((2, hits.size))
    for row, w, group, p in zip(deviations, weights, groups, (p1, p2), strict=True):
        row[group] = w * (hits[group] - p)
    correlation = _correlation(deviations[0], deviations[1], clusters)

    def bounds(alpha: float) -> tuple[float, float]:
        (l1, u1), (l2, u2) = (
            wilson(p, effective_size(hits[group], w, clusters[group], alpha), alpha)
            for p, w, group in zip((p1, p2), weights, groups, strict=True)
        )

        def joined(x: float, y: float) -> float:
            return math.sqrt(max(x * x - 2 * correlation * x * y + y * y, 0.0))

        return p1 - p2 - joined(p1 - l1, u2 - p2), p1 - p2 + joined(u1 - p1, p2 - l2)

    return interval_of(p1 - p2, confidence, bounds)


def _correlation(first: Floats, second: Floats, clusters: Codes) -> float:
    """Correlation of two weighted means, from the sums of their deviations in each cluster."""
    a, b = cluster_sums(first, clusters), cluster_sums(second, clusters)
    scale = math.sqrt(float(np.square(a).sum() * np.square(b).sum()))
    return float(a @ b) / scale if scale > 0 else 0.0
