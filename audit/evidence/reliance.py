"""Reliance on a region: more answers change when it is removed or swapped than under a placebo.

Grouped by the class predicted on the untouched picture, not the true one: a cue raises the margin
of its class where it agrees with the label and lowers it where it conflicts, so the mean over a
true class cancels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit.evidence.inputs import Cell, Inputs, Mask, Row
from audit.evidence.intervals import (
    Codes,
    Floats,
    distinct,
    effective_clusters,
    equal_weights,
    paired_excess,
)
from audit.evidence.signflip import generator, sign_flip_p

MEASURE = "excess_flips"


@dataclass(frozen=True)
class Pairs:
    """One act and its placebo on the axis of the samples; NaN where a number is missing.

    Attributes
    ----------
    there
        Whether the sample has either; a pair with one arm missing has NaN, so it is an error.
    flipped, flipped_placebo
        1 where the answer changed, else 0.
    drop
        Margin after the placebo minus margin after the act, in SDs of the margin.
    donors
        For the swap, the clusters of the donors of act and control: pairs that share one are not
        independent.
    """

    there: Mask
    flipped: Floats
    flipped_placebo: Floats
    drop: Floats
    donors: tuple[Codes, ...] = ()


def removal_and_swap(inputs: Inputs) -> list[Row]:
    """Excess flips over the placebo per required region, class predicted, subgroup and act.

    The effect is the mean over pairs of [answer changed by the act] - [changed by the placebo];
    the margin effect is the mean drop of the margin against the placebo; both are means over
    clusters, each counting the same. p is the cluster sign-flip p of that drop, of whole classes
    (subgroups are for reading). Swaps that share a donor are not independent either: of the
    clusterings by sample and by donor, the one that tells least counts.
    Every required region and class has a row for every configured act, with n = 0 where there is
    no pair.
    """
    rows = []
    for region in _regions(inputs):
        for act, test, fill in _acts(inputs, region):
            pairs = pair(inputs, region, test, fill)
            for target in inputs.classes:
                if region not in inputs.config.required_regions(target):
                    continue
                for cell in inputs.cells(target, inputs.prediction == target):
                    if cell.whole or (cell.inside & pairs.there).any():
                        rows.append(_row(inputs, region, act, cell, pairs))
    return rows


def _regions(inputs: Inputs) -> list[str]:
    """Required regions, less those that only the sufficiency test could reach."""
    tests = inputs.interventions.groupby("region", observed=True)["test"].agg(set).to_dict()
    return [
        region for region in inputs.tested_regions if tests.get(region, set()) != {"sufficiency"}
    ]


def _acts(inputs: Inputs, region: str) -> Iterator[tuple[str, str, str]]:
    """Name, test and fill of every act that is configured or was done on a region."""
    table = inputs.interventions
    done = table[table["region"] == region]
    fills = list(inputs.config.interventions.fills)
    others = set(done.loc[done["test"] == "removal", "fill"]) - set(fills)
    for fill in [*fills, *sorted(others)]:
        yield f"remove:{fill}", "removal", fill
    if inputs.config.interventions.swap or (done["test"] == "swap").any():
        yield "swap", "swap", "donor"


def pair(inputs: Inputs, region: str, test: str, fill: str) -> Pairs:
    """Pairs of an act and its placebo on a region.

    Raises
    ------
    RunError
        If a sample has two rows for the same arm.
    """
    table = inputs.interventions
    rows = table[(table["region"] == region) & (table["test"] == test) & (table["fill"] == fill)]
    act = inputs.on_axis(rows[rows["arm"] == "act"], f"{test} of {region!r} ({fill}, act)")
    placebo = inputs.on_axis(
        rows[rows["arm"] == "placebo"], f"{test} of {region!r} ({fill}, placebo)"
    )
    margins = (arm["margin_after"].to_numpy(np.float64) for arm in (placebo, act))
    with np.errstate(invalid="ignore", divide="ignore"):
        drop = np.subtract(*margins) / inputs.margin_sd
    donors = tuple(inputs.donor_cluster(arm) for arm in (act, placebo)) if test == "swap" else ()
    there = done_on(act) | done_on(placebo)
    return Pairs(there, 1 - kept(act), 1 - kept(placebo), drop, donors)


def done_on(arm: pd.DataFrame) -> Mask:
    """Which samples the intervention was done on."""
    return arm["sample_id"].notna().to_numpy(np.bool_)


def kept(arm: pd.DataFrame) -> Floats:
    """1 where the answer after the intervention is the one before, 0 where not, NaN if unknown."""
    before = arm["prediction_before"].to_numpy(object)
    after = arm["prediction_after"].to_numpy(object)
    same: Floats = (before == after).astype(np.float64)
    same[pd.isna(before) | pd.isna(after)] = np.nan
    return same


def _row(inputs: Inputs, region: str, act: str, cell: Cell, pairs: Pairs) -> Row:
    config = inputs.config
    used = cell.inside & pairs.there
    clusters = inputs.cluster[used]
    donors = [by[used] for by in pairs.donors]
    stands_for = inputs.stands_for[used]
    weights = equal_weights(clusters, stands_for)
    drop = pairs.drop[used]
    interval = paired_excess(
        pairs.flipped[used],
        pairs.flipped_placebo[used],
        clusters,
        config.statistics.confidence,
        also_shared=donors,
        stands_for=stands_for,
    )
    left_out = cell.inside & ~used & inputs.shows(region)

    def p_value(by: Codes) -> float:
        rng = generator(config.seed, MEASURE, region, cell.target_class, act)
        return sign_flip_p(weights * drop, by, inputs.resamples, rng)

    return Row(
        measure=MEASURE,
        region=region,
        role=config.regions.role(region, cell.target_class),
        target_class=cell.target_class,
        attribute=cell.attribute,
        subgroup=cell.subgroup,
        act=act,
        required=cell.whole,
        n=int(used.sum()),
        clusters=min([distinct(clusters), *(_independent(weights, by) for by in donors)]),
        excluded=int((left_out & inputs.drawn).sum()),
        undrawn=int((left_out & ~inputs.drawn).sum()),
        margin_effect=float(weights @ drop) if drop.size else np.nan,
        p=max(map(p_value, (clusters, *donors))) if cell.whole else np.nan,
        interval=interval,
    )


def _independent(weights: Floats, donors: Codes) -> int:
    """How many donors the pairs rest on, those used often counting for less."""
    return round(effective_clusters(weights, donors)) if donors.size else 0
