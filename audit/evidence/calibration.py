"""Whether the model's confidence is its accuracy, per subgroup."""

from __future__ import annotations

import math

import numpy as np

from audit.evidence.bootstrap import cluster_means
from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import (
    Codes,
    Floats,
    Interval,
    clustered_variance,
    distinct,
    equal_weights,
)
from audit.evidence.signflip import generator
from audit.tables import ALL

MEASURES = ("brier", "calibration_gap")
ECE = "ece"
_RESAMPLES = 999  # enough for limits that nothing is decided by
_MOST_BINS = 10
_BIN_CLUSTERS = 15  # fewer in a bin say little about it


def calibration(inputs: Inputs) -> list[Row]:
    """Brier score, signed calibration gap and calibration error, of all samples and per subgroup.

    With the confidence the softmax probability of the class predicted (the sigmoid's, of a single
    logit): the Brier score is the mean of [confidence - right]^2 (of the top label, 0 best); the
    gap the mean of confidence - right (above 0: overconfident); the error see
    :func:`calibration_error`. Every cluster counts the same. Not per true class: a calibrated model
    is calibrated given what it says, not given the truth, which it does not know.
    """
    right = (inputs.prediction == inputs.label).astype(np.float64)
    confidence = inputs.samples["score"].to_numpy(np.float64)
    everyone = np.ones(right.size, dtype=np.bool_)
    return [
        row
        for cell in inputs.cells(ALL, everyone)
        if cell.inside.any()
        for row in _rows(inputs, cell, confidence[cell.inside], right[cell.inside])
    ]


def _rows(inputs: Inputs, cell: Cell, confidence: Floats, right: Floats) -> list[Row]:
    clusters = inputs.cluster[cell.inside]
    statistics = inputs.config.statistics
    gap = confidence - right
    intervals = [Interval(), Interval()]
    if np.isfinite(gap).all():
        rng = generator(inputs.config.seed, "calibration", cell.attribute, cell.subgroup)
        intervals = cluster_means(
            np.stack([gap**2, gap]),
            clusters,
            statistics.confidence,
            min(statistics.resamples, _RESAMPLES),
            rng,
        )
    bins = bins_for(distinct(clusters))
    error = Interval(calibration_error(confidence, right, clusters, bins))
    return [
        Row(
            measure=measure,
            attribute=cell.attribute,
            subgroup=cell.subgroup,
            act=act,
            n=right.size,
            clusters=distinct(clusters),
            interval=interval,
        )
        for measure, act, interval in zip(
            (*MEASURES, ECE), (ALL, ALL, f"bins:{bins}"), (*intervals, error), strict=True
        )
    ]


def bins_for(clusters: int) -> int:
    """Number of bins of confidence: one for every 15 clusters, 1 to 10."""
    return min(_MOST_BINS, max(1, clusters // _BIN_CLUSTERS))


def calibration_error(confidence: Floats, right: Floats, clusters: Codes, bins: int) -> float:
    """Root mean square, over bins of equal size, of confidence less accuracy, debiased.

    The plain expected calibration error counts the noise of every bin as miscalibration, so small
    subgroups always look worse. Here the square of a bin's gap is reduced by the variance of its
    mean over clusters, which makes the mean of the squares unbiased (Kumar, Liang and Ma,
    arXiv 1909.10155, section 4.2); 0 where chance alone explains them. No interval: near 0 none
    is right.

    Parameters
    ----------
    confidence
        [n] probability of the class predicted.
    right
        [n] 1 where the prediction is right, else 0.
    clusters
        [n] cluster of each sample; every cluster counts the same.
    bins
        Number of bins, between quantiles of the confidence.

    Returns
    -------
    float
        0 to 1; NaN where a number is missing or a bin has a single cluster.

    >>> calibration_error(np.full(4, 0.75), np.array([0.0, 1.0, 1.0, 1.0]), np.arange(4), 1)
    0.0
    """
    return float(np.sqrt(np.maximum(0.0, squared_error(confidence, right, clusters, bins))))


def squared_error(confidence: Floats, right: Floats, clusters: Codes, bins: int) -> float:
    """The unbiased mean square of :func:`calibration_error`, which may be below 0."""
    gap = confidence - right
    if gap.size == 0 or not np.isfinite(gap).all():
        return math.nan
    weights = equal_weights(clusters)
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    of = np.searchsorted(edges, confidence, side="left")
    total = 0.0
    for inside in (of == index for index in np.unique(of)):
        if distinct(clusters[inside]) < 2:
            return math.nan
        mass = float(weights[inside].sum())
        share = weights[inside] / mass
        mean = float(share @ gap[inside])
        noise = clustered_variance(share * (gap[inside] - mean), clusters[inside])
        total += mass * (mean**2 - noise)
    return total
