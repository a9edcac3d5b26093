"""What a region does to the right answer: helps it in some cells, misleads in others."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import (
    Codes,
    Floats,
    Interval,
    clustered_variance,
    distinct,
    effective_clusters,
    equal_weights,
    interval_of,
)

MEASURE = "true_margin_effect"
_ACTS = {"removal": "remove:{}", "swap": "swap"}


def true_margin_effect(inputs: Inputs) -> list[Row]:
    """Mean drop of the true class's margin by an act against its placebo, per cell of that class.

    In standard deviations of the margin over the audited samples, as the ``margin_effect`` of the
    findings. Above 0 the region supports the right answer (the cue agrees with the class), below 0
    it works against it (the cue conflicts); over a whole class the two may cancel, which is why no
    verdict rests on it. Every cluster counts the same, a drawn one for as many as it stands for;
    NaN where half a pair is missing.
    """
    table = inputs.interventions
    table = table[table["test"].isin(list(_ACTS))]
    rows = []
    for (region, test, fill), arms in table.groupby(["region", "test", "fill"], observed=True):
        drop = _drop(inputs, arms, f"{test} of {region!r} ({fill})")
        act = _ACTS[str(test)].format(fill)
        for target in inputs.classes:
            for cell in inputs.cells(target, inputs.label == target):
                rows += _rows(inputs, str(region), act, cell, drop)
    return rows


def _drop(inputs: Inputs, arms: pd.DataFrame, what: str) -> pd.Series[float]:
    """Margin after the placebo less that after the act, in SDs, by place on the axis."""
    after = [
        inputs.on_axis(arms[arms["arm"] == arm], f"{what}, {arm}") for arm in ("placebo", "act")
    ]
    placebo, act = (arm["true_margin_after"].astype(np.float64) for arm in after)
    done = after[0]["sample_id"].notna() | after[1]["sample_id"].notna()
    drop: pd.Series[float] = ((placebo - act) / inputs.margin_sd)[done]
    return drop


def _rows(inputs: Inputs, region: str, act: str, cell: Cell, drop: pd.Series[float]) -> list[Row]:
    used = np.zeros(cell.inside.size, dtype=np.bool_)
    used[drop.index] = True
    used &= cell.inside
    if not used.any():
        return []
    clusters = inputs.cluster[used]
    values = np.asarray(drop[np.flatnonzero(used)], dtype=np.float64)
    weights = equal_weights(clusters, inputs.stands_for[used])
    left_out = cell.inside & ~used & inputs.shows(region)
    return [
        Row(
            measure=MEASURE,
            region=region,
            role=inputs.config.regions.role(region, cell.target_class),
            target_class=cell.target_class,
            attribute=cell.attribute,
            subgroup=cell.subgroup,
            act=act,
            n=int(used.sum()),
            clusters=distinct(clusters),
            excluded=int((left_out & inputs.drawn).sum()),
            undrawn=int((left_out & ~inputs.drawn).sum()),
            interval=mean(values, weights, clusters, inputs.config.statistics.confidence),
        )
    ]


def mean(values: Floats, weights: Floats, clusters: Codes, confidence: float) -> Interval:
    """Weighted mean with its t interval, clusters being independent; NaN where a value is missing.

    Parameters
    ----------
    values, weights
        [n] a value per sample, and its weight; the weights sum to 1.
    clusters
        [n] cluster of each sample. From a single one there is no interval.
    confidence
        Of the two-sided interval and of each one-sided limit.

    >>> found = mean(np.array([1.0, 3.0]), np.array([0.5, 0.5]), np.array([0, 1]), 0.95)
    >>> round(found.effect, 3), round(found.low, 3), round(found.high, 3)
    (2.0, -10.706, 14.706)
    """
    centre = float(weights @ values)
    if not np.isfinite(centre) or distinct(clusters) < 2:
        return Interval(centre if np.isfinite(centre) else math.nan)
    error = math.sqrt(clustered_variance(weights * (values - centre), clusters))
    freedom = max(effective_clusters(weights, clusters) - 1, 1.0)

    def bounds(alpha: float) -> tuple[float, float]:
        reach = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
        return centre - reach, centre + reach

    return interval_of(centre, confidence, bounds)
