"""Sufficiency of a region: how often the model keeps its answer with the core removed.

For regions that leave no room for a placebo (everything outside the core).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import Interval, distinct, group_weights, mean_rate
from audit.evidence.reliance import done_on, kept
from audit.evidence.signflip import generator, sign_flip_p
from audit.tables import ALL

MEASURE = "sufficiency_excess"


def sufficiency(inputs: Inputs) -> list[Row]:
    """Keep rate of the answer with the core removed, over chance, per region, subgroup and fill.

    The effect is the mean over the K classes of the audit, as predicted on the untouched picture,
    of the rate at which the answer is kept, minus 1/K: zero for answers that do not depend on the
    picture. All K classes must have been predicted, or the mean is not what 1/K is the chance
    level of; else the effect is NaN and the clusters are 0. The clusters are those of the class
    with the fewest, the one that limits the mean. p is the cluster sign-flip p of the excess, of
    all samples (subgroups are for reading).
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
    config, classes = inputs.config, inputs.classes
    k = len(classes)
    used = cell.inside & done_on(arm)
    clusters, hits = inputs.cluster[used], kept(arm)[used]
    groups = pd.Categorical(inputs.prediction[used], categories=classes).codes.astype(np.intp)
    sizes = np.bincount(groups, minlength=k)
    mean = mean_rate(hits, groups, k, clusters, config.statistics.confidence)
    contributions = group_weights(groups, k, clusters) * (hits - 1 / k)  # they sum to the effect
    rng = generator(config.seed, MEASURE, region, act)
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
        clusters=min(distinct(clusters[groups == i]) for i in range(k)),
        excluded=int((cell.inside & ~used).sum()),
        p=(
            sign_flip_p(contributions, clusters, inputs.resamples, rng)
            if cell.whole and sizes.min() > 0
            else np.nan
        ),
        interval=Interval(*(value - 1 / k for value in vars(mean).values())),
    )
