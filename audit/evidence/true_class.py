"""What a region does to the right answer: helps it in some cells, misleads in others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import Interval, cluster_means, distinct
from audit.evidence.signflip import generator

MEASURE = "true_margin_effect"
_RESAMPLES = 999  # enough for limits that nothing is decided by
_ACTS = {"removal": "remove:{}", "swap": "swap"}


def true_margin_effect(inputs: Inputs) -> list[Row]:
    """Mean drop of the true class's margin by an act against its placebo, per cell of that class.

    In standard deviations of the margin over the audited samples, as the ``margin_effect`` of the
    findings. Above 0 the region supports the right answer (the cue agrees with the class), below 0
    it works against it (the cue conflicts); over a whole class the two may cancel, which is why no
    verdict rests on it. Every cluster counts the same; NaN where half a pair is missing.
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
    interval = Interval()
    if np.isfinite(values).all():
        statistics = inputs.config.statistics
        rng = generator(
            inputs.config.seed,
            *(MEASURE, region, act, cell.target_class, cell.attribute, cell.subgroup),
        )
        (interval,) = cluster_means(
            values[None],
            clusters,
            statistics.confidence,
            min(statistics.resamples, _RESAMPLES),
            rng,
        )
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
            excluded=int((cell.inside & ~used & inputs.shows(region)).sum()),
            interval=interval,
        )
    ]
