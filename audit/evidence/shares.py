"""Attention on regions, per true class and subgroup: for the reader, never for the verdict."""

from __future__ import annotations

import numpy as np

from audit.evidence.bootstrap import cluster_means
from audit.evidence.inputs import Cell, Inputs, Measured, Row
from audit.evidence.intervals import distinct
from audit.evidence.signflip import generator

MEASURES = ("share", "log_rho")
RESAMPLES = 999  # enough for limits that nothing is decided by


def attention_shares(inputs: Inputs) -> list[Row]:
    """Mean attention share and mean log inside/outside ratio, per region, class and subgroup.

    Of the maps that explain the true class. Dead maps and regions smaller than two grid cells are
    excluded, never imputed. Every cluster counts the same.
    """
    return [
        row
        for (method, region), measured in inputs.measured.items()
        for target in inputs.classes
        for cell in inputs.cells(target, inputs.label == target)
        for row in _rows(inputs, method, region, cell, measured)
    ]


def _rows(inputs: Inputs, method: str, region: str, cell: Cell, measured: Measured) -> list[Row]:
    used = cell.inside & measured.usable
    if not used.any():
        return []
    config = inputs.config
    clusters = inputs.cluster[used]
    rng = generator(
        config.seed, "share", method, region, cell.target_class, cell.attribute, cell.subgroup
    )
    intervals = cluster_means(
        np.stack([measured.share[used], measured.log_rho[used]]),
        clusters,
        config.statistics.confidence,
        min(config.statistics.resamples, RESAMPLES),
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
            excluded=int((cell.inside & ~used & inputs.shows(region)).sum()),
            interval=interval,
        )
        for measure, interval in zip(MEASURES, intervals, strict=True)
    ]
