"""What the attention screen says of a region and class. It informs; no status rests on it."""

from __future__ import annotations

import pandas as pd

from audit.config import Policy
from audit.evidence import alignment, disparity
from audit.gate.findings import Attention
from audit.tables import ALL


def attention_on(
    evidence: pd.DataFrame, region: str, target_class: str, policy: Policy, trusted: bool | None
) -> Attention:
    """Whether attention on a region was found out of the ordinary.

    - untrusted: the explainer failed its checks on this model, or they were undecided.
    - unmeasurable: no alignment could be tested: maps are dead, or the region is too small, in
      most pictures that have it, or there are fewer clusters than the minimum.
    - nominated: a q of alignment or disparity is below ``policy.screen_q``.
    - silent: else. That clears nothing, as alignment is blind to a region that hardly moves.

    Parameters
    ----------
    evidence
        The evidence table.
    region, target_class
        Class ``*`` stands for all: one nomination is enough, and one that could be measured.
    policy
        Level of the screen.
    trusted
        Whether the explainer passed its checks; None where they were not made.
    """
    if trusted is False:
        return "untrusted"
    rows = evidence[
        (evidence["region"] == region)
        & evidence["measure"].isin([alignment.MEASURE, disparity.MEASURE])
    ]
    if target_class != ALL:
        rows = rows[rows["target_class"] == target_class]
    whole = rows[rows["measure"] == alignment.MEASURE]
    tested = whole["p_adjusted"].notna() & (whole["n"] >= whole["excluded"])
    measured = rows[rows["target_class"].isin(set(whole.loc[tested, "target_class"].astype(str)))]
    if measured.empty:
        return "unmeasurable"
    return "nominated" if (measured["p_adjusted"] < policy.screen_q).any() else "silent"
