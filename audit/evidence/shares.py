"""Attention on regions, per true class and subgroup: for the reader, never for the verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import cluster_means, distinct
from audit.evidence.signflip import generator

MEASURES = ("share", "log_rho")
_RESAMPLES = 999  # enough for limits that nothing is decided by


def attention_shares(inputs: Inputs) -> list[Row]:
    """Mean attention share and mean log inside/outside ratio, per region, class and subgroup.

    Of the maps that explain the true class. Dead maps and regions smaller than two grid cells are
    excluded, never imputed. Every cluster counts the same.
    """
    table = inputs.attention
    table = table[table["explained"] == "true"]
    rows = []
    for (method, region), part in table.groupby(["method", "region"], observed=True, sort=True):
        numbers = inputs.on_axis(part, f"{method} on {region!r}")
        for target in inputs.classes:
            for cell in inputs.cells(target, inputs.label == target):
                rows += _rows(inputs, str(method), str(region), cell, numbers)
    return rows


def _rows(inputs: Inputs, method: str, region: str, cell: Cell, numbers: pd.DataFrame) -> list[Row]:
    usable = (
        numbers["sample_id"].notna()
        & numbers["measurable"].eq(True)
        & numbers["share"].notna()
        & numbers["rho"].notna()
    )
    used = cell.inside & usable.to_numpy(np.bool_)
    if not used.any():
        return []
    config = inputs.config
    clusters = inputs.cluster[used]
    share, rho = (numbers[name].to_numpy(np.float64)[used] for name in ("share", "rho"))
    rng = generator(
        config.seed, "share", method, region, cell.target_class, cell.attribute, cell.subgroup
    )
    intervals = cluster_means(
        np.stack([share, np.log(rho)]),
        clusters,
        config.statistics.confidence,
        min(config.statistics.resamples, _RESAMPLES),
        rng,
    )
    return [
        Row(
            measure=measure,
            region=region,
            role=config.regions.role(region, cell.target_class),
            target_class=cell.target_class,
            attribute=cell.attribute,
            subgroup=cell.subgroup,
            act=f"explain:{method}",
            n=int(used.sum()),
            clusters=distinct(clusters),
            excluded=int((cell.inside & ~used).sum()),
            interval=interval,
        )
        for measure, interval in zip(MEASURES, intervals, strict=True)
    ]
