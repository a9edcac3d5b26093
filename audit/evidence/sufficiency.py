"""Sufficiency of all but the core: how often answers are kept when the core says something else.

For regions that leave no room for a placebo (everything outside the core).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.evidence.exchange import exchange, keep_rate
from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import Floats, Interval, distinct
from audit.evidence.reliance import done_on
from audit.evidence.signflip import generator, sign_flip_p
from audit.tables import ALL

MEASURE = "sufficiency_kappa"


def sufficiency(inputs: Inputs) -> list[Row]:
    """Keep rate of the answers under exchanged cores, over chance, per region, subgroup and fill.

    The effect is the rate r of :func:`~audit.evidence.exchange.exchange` corrected for chance as
    Cohen's kappa is, ``(r - 1/K) / (1 - 1/K)``: 0 for a model that reads the core alone, 1 for one
    that reads the rest alone, of any number of classes, in between for one that reads both. All K
    classes must have been predicted, each in two clusters at least; else the
    effect is NaN and the clusters are 0. The clusters are those of the class with the fewest, the
    one that limits the mean. p is the cluster sign-flip p of the excess, of all samples (subgroups
    are for reading).
    """
    tested = inputs.interventions[inputs.interventions["test"] == "sufficiency"]
    rows = []
    for region in inputs.tested_regions:
        done = tested[tested["region"] == region]
        if done.empty:
            continue
        fills = list(inputs.config.interventions.fills)
        for fill in [*fills, *sorted(set(done["fill"]) - set(fills))]:
            arm = done[(done["fill"] == fill) & (done["arm"] == "act")]
            arm = inputs.on_axis(arm, f"sufficiency of {region!r} ({fill})")
            everyone = np.isin(inputs.prediction, np.array(inputs.classes, dtype=object))
            for cell in inputs.cells(ALL, everyone):
                if cell.whole or (cell.inside & done_on(arm)).any():
                    rows.append(_row(inputs, region, f"keep:{fill}", cell, arm))
    return rows


def _row(inputs: Inputs, region: str, act: str, cell: Cell, arm: pd.DataFrame) -> Row:
    config = inputs.config
    used = cell.inside & done_on(arm)
    clusters = inputs.cluster[used]
    before, after = (_logits(arm.loc[used, name]) for name in ("logits_before", "logits_after"))
    k = max(len(inputs.classes), before.shape[1])
    predicted = pd.Categorical(inputs.prediction[used], categories=inputs.classes).codes
    rng = generator(config.seed, MEASURE, region, act)
    found = exchange(before, after, clusters, rng, inputs.stands_for[used])
    known = bool(np.isfinite(before).all() and np.isfinite(after).all())
    smallest = min(distinct(clusters[predicted == i]) for i in range(k))
    interval, p = Interval(), np.nan
    if found is not None:
        rate = keep_rate(found, clusters, config.statistics.confidence)
        interval = Interval(*((value - 1 / k) / (1 - 1 / k) for value in vars(rate).values()))
        if cell.whole:
            p = sign_flip_p(found.parts(less=1 / k), clusters, inputs.resamples, rng)
    return Row(
        measure=MEASURE,
        region=region,
        role="forbidden",
        target_class=ALL,
        attribute=cell.attribute,
        subgroup=cell.subgroup,
        act=act,
        required=cell.whole,
        n=int(used.sum()),
        clusters=0 if found is None and known else smallest,
        excluded=int((cell.inside & ~used & inputs.drawn).sum()),
        undrawn=int((cell.inside & ~used & ~inputs.drawn).sum()),
        p=p,
        interval=interval,
    )


def _logits(column: pd.Series) -> Floats:
    """Lists as ``[n, K]``; NaN where one is missing or has another length."""
    lists = [np.zeros(0) if value is None else np.asarray(value) for value in column]
    logits = np.full((len(lists), max(map(len, lists), default=0)), np.nan)
    for row, values in zip(logits, lists, strict=True):
        if len(values) == row.size:
            row[:] = values
    return logits
