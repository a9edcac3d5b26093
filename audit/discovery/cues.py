"""Cues that nobody annotated: what a class attends to, put to the test on its patches.

Attention alone confirms nothing. A cue is "intervention-confirmed on its patches" where removing
the patches changes more answers than removing as much elsewhere, by the rule of a CONFIRMED
finding: Holm's correction, here over all cues, and a lower limit of the effect above
``policy.fail_effect``. The verdict does not read it. Associations only describe a cue; theirs is
the correction of Benjamini and Hochberg.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audit.config import Audit
from audit.context import Context
from audit.discovery.associations import events_of, permutation_p
from audit.discovery.features import Features
from audit.discovery.groups import SMALLEST, Group, finding_half, meet_again, space_of
from audit.discovery.patches import Outcomes, remove_patches
from audit.evidence.correction import BENJAMINI_HOCHBERG, HOLM, corrected
from audit.evidence.intervals import distinct, equal_weights, paired_excess
from audit.evidence.signflip import generator, sign_flip_p
from audit.tables import CUE_ASSOCIATIONS, CUES, attribute_column, empty, to_arrow

CONFIRMED = "intervention-confirmed on its patches"
NOT_CONFIRMED = "not confirmed"
TOO_FEW = "not confirmed: too few independent samples"
TYPICAL = 6  # samples named per cue


@dataclass(frozen=True)
class Found:
    """The tables ``cues`` and ``cue_associations``."""

    cues: pd.DataFrame
    associations: pd.DataFrame


def find_cues(
    context: Context, features: Features, told: Callable[[int, int], None] = lambda done, all: None
) -> Found:
    """Find groups on one half of the clusters; test them on the other.

    Parameters
    ----------
    context
        Data, model, layer, fills, policy.
    features
        Of some audited samples, for the class that each is predicted as.
    told
        Called with the number of samples that were intervened on, and of all.
    """
    config, classes = context.config, context.classifier.classes
    most, seed = config.discovery.cues, config.seed
    spaces = [space_of(features, target, most, seed) for target in range(len(classes))]
    groups = [g for g in meet_again(features, spaces, seed) if len(g.members)]
    if not groups:
        return Found(empty(CUES), empty(CUE_ASSOCIATIONS))
    members = np.concatenate([group.members for group in groups])
    outcomes = remove_patches(context, features, members, lambda done: told(done, len(members)))
    ends = np.cumsum([len(group.members) for group in groups])
    resamples = _resamples(config, len(groups))
    rows = [
        _cue(
            context, features, group, outcomes, np.arange(end - len(group.members), end), resamples
        )
        for group, end in zip(groups, ends, strict=True)
    ]
    cues = pd.DataFrame(rows)
    cues["p_adjusted"] = corrected(cues["p"], HOLM)
    cues["status"] = [_status(dict(row), config) for _, row in cues.iterrows()]
    order = np.argsort(-cues["effect"].fillna(-np.inf).to_numpy(), kind="stable")
    cues = cues.iloc[order].assign(cue=np.arange(1, len(cues) + 1))
    associations = _associations(context, features, [groups[i] for i in order])
    return Found(
        to_arrow(cues, CUES).to_pandas(), to_arrow(associations, CUE_ASSOCIATIONS).to_pandas()
    )


def _resamples(config: Audit, cues: int) -> int:
    """Sign flips: as configured, or more where Holm over all cues needs a smaller p."""
    return max(config.statistics.resamples, math.ceil(cues / config.policy.alpha))


def _cue(
    context: Context,
    features: Features,
    group: Group,
    outcomes: Outcomes,
    at: np.ndarray,
    resamples: int,
) -> dict[str, Any]:
    """One row of the table, before what takes all cues together; ``at``: rows of the outcomes."""
    config = context.config
    used = at[outcomes.fits[at]]
    clusters = features.cluster[group.members[outcomes.fits[at]]]
    ids = context.samples["sample_id"].astype(str).to_numpy(object)
    row: dict[str, Any] = {
        "target_class": context.classifier.classes[group.target],
        "group": group.number,
        "found_on": group.found_on,
        "n": len(used),
        "clusters": distinct(clusters),
        "excluded": len(at) - len(used),
        "area": float(outcomes.area[at].mean()),
        "overlap": outcomes.overlap[at].mean(0),
        "elsewhere": float(outcomes.elsewhere[at].mean()),
        "typical": ids[features.positions[group.members[:TYPICAL]]].tolist(),
    }
    return row | _weakest(config, features, group, outcomes, used, clusters, resamples)


def _weakest(
    config: Audit,
    features: Features,
    group: Group,
    outcomes: Outcomes,
    used: np.ndarray,
    clusters: np.ndarray,
    resamples: int,
) -> dict[str, Any]:
    """Excess flips and margin drop by the fill that says least; p the largest over the fills."""
    weights = equal_weights(clusters)
    spread = features.margin.std(ddof=1) if len(features.margin) > 1 else np.nan
    found: list[dict[str, Any]] = []
    for f, fill in enumerate(config.interventions.fills):
        act, placebo = outcomes.flipped[f][:, used]
        after_act, after_placebo = outcomes.margin[f][:, used]
        with np.errstate(invalid="ignore", divide="ignore"):
            drop = (after_placebo - after_act) / spread
        rng = generator(config.seed, "discovery", str(group.target), str(group.number), fill)
        found.append(
            {
                "act": f"remove:{fill}",
                **vars(paired_excess(act, placebo, clusters, config.statistics.confidence)),
                "margin_effect": float(weights @ drop) if drop.size else np.nan,
                "p": sign_flip_p(weights * drop, clusters, resamples, rng),
            }
        )
    weakest = min(found, key=lambda one: one["lower_limit"])
    return weakest | {"p": float(np.max([one["p"] for one in found]))}


def _status(row: dict[Any, Any], config: Audit) -> str:
    policy = config.policy
    if row["clusters"] < policy.min_clusters:
        return TOO_FEW
    certain = row["p_adjusted"] < policy.alpha and row["lower_limit"] > policy.fail_effect
    return CONFIRMED if certain else NOT_CONFIRMED


def _associations(context: Context, features: Features, groups: list[Group]) -> pd.DataFrame:
    """Each cue against errors and subgroups, among the samples predicted as its class."""
    config, classes = context.config, context.classifier.classes
    testing = ~finding_half(features.cluster, config.seed) & features.live
    columns = {name: attribute_column(name) for name in config.data.attributes}
    frames = [empty(CUE_ASSOCIATIONS).astype({"attribute": object, "subgroup": object})]
    for number, group in enumerate(groups, start=1):
        of_class = np.flatnonzero(testing & (features.predicted == group.target))
        member = np.isin(of_class, group.members).astype(np.float64)
        if member.all():  # the only cue of its class: nothing to compare it with
            continue
        samples = context.samples.iloc[features.positions[of_class]]
        label = samples["label"].astype(str).to_numpy(object)
        wrong = (label != classes[group.target]).astype(np.float64)
        names, events = events_of(samples, wrong, columns, SMALLEST)
        clusters = features.cluster[of_class]
        rng = generator(config.seed, "associations", str(group.target), str(group.number))
        p = permutation_p(member, events, clusters, config.statistics.resamples, rng)
        inside, outside = (
            equal_weights(clusters[part]) @ events[part] for part in (member == 1, member == 0)
        )
        frames.append(
            pd.DataFrame(
                {
                    "cue": number,
                    "attribute": [attribute for attribute, _ in names],
                    "subgroup": [subgroup for _, subgroup in names],
                    "n": len(of_class),
                    "clusters": distinct(clusters),
                    "inside": inside,
                    "outside": outside,
                    "p": p,
                }
            )
        )
    found = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return found.assign(p_adjusted=corrected(found["p"], BENJAMINI_HOCHBERG))
