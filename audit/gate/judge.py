"""The decision table, applied to the evidence of every required region and class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from audit.config import Audit, Policy
from audit.evidence import reliance, sufficiency
from audit.evidence.build import SCREEN, thresholds
from audit.gate import reasons
from audit.gate.attention import attention_on
from audit.gate.findings import SWAP, Act, Finding, Status, Test, WorstSubgroup, fingerprint
from audit.gate.power import clusters_to_decide
from audit.tables import ALL

TESTS: dict[str, Test] = {reliance.MEASURE: "removal", sufficiency.MEASURE: "sufficiency"}

_NEEDED = ["effect", "low", "high", "lower_limit", "upper_limit", "p", "p_adjusted"]
_CLAIM = ["region", "measure", "target_class"]


@dataclass(frozen=True)
class Claim:
    """What is to be judged: a region, the class predicted, and how it was tested."""

    region: str
    measure: str
    target_class: str

    @property
    def test(self) -> Test:
        """Kind of test."""
        return TESTS[self.measure]


class Decision(NamedTuple):
    """A status, the act whose numbers decided it, why, and the clusters that would decide."""

    status: Status
    act: Act
    reason: str
    clusters_needed: float | None = None


def judge_findings(
    evidence: pd.DataFrame, config: Audit, trusted: bool | None = None
) -> list[Finding]:
    """Judge every required region and class; the first row that holds decides.

    - ERROR: a configured act is missing, was possible on no sample although others were, or has a
      number that is missing or not finite.
    - INCONCLUSIVE: an act has fewer clusters than the minimum, or none was possible (the class was
      never predicted, or the region is not in its pictures).
    - CONFIRMED: every effect is above zero, the largest adjusted p is below alpha, and the lower
      limit is above the failing effect by every fill, or by the swap.
    - CLEARED: the upper limit is below the passing effect by every act, and the region was tested
      on most of the pictures that have it (what could be shown on a selected part only is
      INCONCLUSIVE).
    - INCONCLUSIVE: else.

    Parameters
    ----------
    evidence
        The evidence table.
    config
        The audit.
    trusted
        Whether the explainer passed its checks on this model, None where they were not made. It
        changes what a finding says of attention, never its status.

    Returns
    -------
    list of Finding
        Sorted by region, test and class. A required region without evidence is an ERROR.
    """
    table = evidence[evidence["measure"].isin(list(TESTS))]
    table = table.astype(dict.fromkeys((*_CLAIM, "attribute", "subgroup", "act"), object))
    screen = evidence[evidence["measure"].isin(SCREEN)]
    found: list[Finding] = []
    for key, rows in table.groupby(_CLAIM, sort=True):
        required = rows[rows["required"].astype(bool) & (rows["attribute"] == ALL)]
        if len(required):
            others = rows[rows["attribute"] != ALL]
            found.append(_finding(Claim(*map(str, key)), required, others, config))
    classes = config.data.classes or sorted({*evidence["target_class"].astype(str)} - {ALL})
    found = [*found, *_untested(found, classes or [ALL], config)]
    return [
        replace(
            finding,
            attention=attention_on(
                screen, finding.region, finding.target_class, config.policy, trusted
            ),
        )
        for finding in found
    ]


def _finding(claim: Claim, rows: pd.DataFrame, subgroups: pd.DataFrame, config: Audit) -> Finding:
    decision = _decide(claim, rows, config)
    act = decision.act
    return Finding(
        fingerprint=fingerprint(config.name, claim.region, claim.target_class, claim.test),
        region=claim.region,
        target_class=claim.target_class,
        role=str(rows["role"].iloc[0]),
        test=claim.test,
        status=decision.status,
        reason=decision.reason,
        effect=act.effect,
        low=act.low,
        high=act.high,
        lower_limit=act.lower_limit,
        upper_limit=act.upper_limit,
        p_adjusted=_number(rows["p_adjusted"].max(skipna=False)),
        n=int(rows["n"].min()),
        clusters=int(rows["clusters"].min()),
        clusters_needed=decision.clusters_needed,
        acts=[_act(row) for _, row in rows.iterrows()],
        worst_subgroup=_worst(subgroups, act.act, config.policy),
    )


def _decide(claim: Claim, rows: pd.DataFrame, config: Audit) -> Decision:
    """The decision table for one claim; ``rows`` has one row per act."""
    policy = config.policy
    fail, clear = thresholds(policy)[claim.measure]
    say = _wording(claim, config)
    unusable = _unusable(claim, rows, config)
    if unusable is not None:
        return unusable
    convicting = _convicting(rows, fail, policy.alpha)
    if convicting is not None:
        return Decision("CONFIRMED", convicting, say.confirmed(convicting))
    riskiest = _extreme(rows, "upper_limit", last=True)
    if (rows["upper_limit"] < clear).all():
        most_left_out = _extreme(rows, "excluded", last=True)
        if most_left_out.tested < policy.min_tested:
            return Decision("INCONCLUSIVE", most_left_out, say.selected(most_left_out))
        return Decision("CLEARED", riskiest, say.cleared(riskiest, clear))
    clusters = clusters_to_decide(rows, fail, clear, config)
    act = _undecided(rows, fail) or riskiest
    return Decision("INCONCLUSIVE", act, say.undecided(act, clusters), clusters)


def _unusable(claim: Claim, rows: pd.DataFrame, config: Audit) -> Decision | None:
    """ERROR where a number is missing, INCONCLUSIVE where there are too few clusters."""
    say = _wording(claim, config)
    minimum = config.policy.min_clusters
    smallest = _extreme(rows, "clusters", last=False)
    absent = sorted(_configured_acts(claim, config) - set(rows["act"]))
    if absent:
        return Decision("ERROR", smallest, say.absent(absent))
    undone = rows["clusters"] == 0
    if not undone.all():
        needed = [*_NEEDED, "margin_effect"] if claim.test == "removal" else _NEEDED
        finite = np.isfinite(rows[needed].to_numpy(np.float64)).all(axis=1)
        unfinished = rows[undone | ~finite]
        if len(unfinished):
            why = say.unfinished(list(unfinished["act"]))
            return Decision("ERROR", _act(unfinished.iloc[0]), why)
    if smallest.n == smallest.excluded == 0 and claim.test == "removal":
        return Decision("INCONCLUSIVE", smallest, say.never())
    if smallest.clusters < minimum:
        return Decision("INCONCLUSIVE", smallest, say.small(smallest, minimum), float(minimum))
    return None


def _convicting(rows: pd.DataFrame, fail: float, alpha: float) -> Act | None:
    """The act that shows reliance: the weakest fill, or the swap; None if neither does."""
    if not (rows["effect"] > 0).all() or not (rows["p_adjusted"] < alpha).all():
        return None
    fills, swaps = rows[rows["act"] != SWAP], rows[rows["act"] == SWAP]
    for acts in (fills, swaps):
        if len(acts) and (acts["lower_limit"] > fail).all():
            return _extreme(acts, "lower_limit", last=False)
    return None


def _undecided(rows: pd.DataFrame, fail: float) -> Act | None:
    """Where some acts show reliance, the weakest that does not: a fill, for all fills must."""
    short = rows[rows["lower_limit"] <= fail]
    fills = short[short["act"] != SWAP]
    if len(short) in (0, len(rows)):
        return None
    return _extreme(fills if len(fills) else short, "lower_limit", last=False)


def _extreme(rows: pd.DataFrame, column: str, *, last: bool) -> Act:
    """The act with the smallest (or the last: the largest) value in a column."""
    return _act(rows.sort_values([column, "act"]).iloc[-1 if last else 0])


def _wording(claim: Claim, config: Audit) -> reasons.Wording:
    return reasons.Wording(
        claim.region, claim.target_class, claim.test, config.statistics.confidence
    )


def _configured_acts(claim: Claim, config: Audit) -> set[str]:
    fills = config.interventions.fills
    if claim.test == "sufficiency":
        return {f"keep:{fill}" for fill in fills}
    return {f"remove:{fill}" for fill in fills} | ({SWAP} if config.interventions.swap else set())


def _worst(subgroups: pd.DataFrame, act: str, policy: Policy) -> WorstSubgroup | None:
    rows = subgroups[
        (subgroups["act"] == act)
        & (subgroups["clusters"] >= policy.min_clusters)
        & np.isfinite(subgroups["effect"])
    ]
    if rows.empty:
        return None
    row = rows.sort_values(["effect", "attribute", "subgroup"]).iloc[-1]
    return WorstSubgroup(str(row["attribute"]), str(row["subgroup"]), float(row["effect"]))


def _untested(found: list[Finding], classes: list[str], config: Audit) -> Iterator[Finding]:
    """An ERROR for every required region and class that the evidence does not have.

    A region that the policy requires and no class forbids was never tested: for all classes.
    """
    tested = {(finding.region, finding.target_class) for finding in found}
    required = [
        (region, target) for target in classes for region in config.required_regions(target)
    ]
    strange = {*(config.policy.required or [])} - {region for region, _ in required}
    for region, target in [*required, *((region, ALL) for region in sorted(strange))]:
        if tested.isdisjoint({(region, target), (region, ALL)}):
            claim = Claim(region, reliance.MEASURE, target)
            yield Finding(
                fingerprint=fingerprint(config.name, region, target, claim.test),
                region=region,
                target_class=target,
                role=config.regions.role(region, target),
                test=claim.test,
                status="ERROR",
                reason=_wording(claim, config).absent(["any test of it"]),
            )


def _act(row: pd.Series[Any]) -> Act:
    names = (*_NEEDED, "margin_effect", "detectable")
    numbers = {name: _number(row[name]) for name in names}
    n, clusters, excluded, undrawn = (
        int(row[name]) for name in ("n", "clusters", "excluded", "undrawn")
    )
    return Act(str(row["act"]), n, clusters, excluded, undrawn, **numbers)


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    return float(value) if pd.notna(value) and math.isfinite(value) else None
