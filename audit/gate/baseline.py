"""The ratchet: findings against those of a baseline run; only new and worse ones block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from audit.evidence.change import change, correlation
from audit.evidence.inputs import Inputs
from audit.evidence.intervals import Interval, equal_weights
from audit.evidence.reliance import pair
from audit.gate.findings import SWAP, Act, Finding
from audit.gate.reasons import percent


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared: its findings, and what they were measured on."""

    findings: Sequence[Finding]
    inputs: Inputs


@dataclass(frozen=True)
class Difference(Interval):
    """An effect less that in the baseline."""

    def told(self, confidence: float) -> str:
        """In words."""
        return (
            f"difference {percent(self.effect)}, {100 * confidence:.4g} % one-sided limits "
            f"{percent(self.lower_limit)} and {percent(self.upper_limit)}"
        )


def ratchet(now: Side, before: Side, worsened_effect: float) -> list[Finding]:
    """Compare findings with those of a baseline, claim by claim, and let known ones through.

    A CONFIRMED (or WAIVED) finding is *new* where the baseline did not confirm it; *worsened* where
    its effect grew by more than ``worsened_effect``, for certain (by every fill, or by the swap, as
    in the decision table) or as the estimate of any act has it; else *unchanged*, and then
    CONFIRMED becomes KNOWN. A finding that is
    CLEARED after it was CONFIRMED is *fixed*. What the baseline confirms and this run was not
    required to test is an ERROR: nobody can say that it is fixed.

    Parameters
    ----------
    now, before
        The run and its baseline, judged by the same limits; of the baseline before waivers.
    worsened_effect
        Growth of the effect that is not accepted.
    """
    earlier = {finding.fingerprint: finding for finding in before.findings}
    compared = [
        _compared(finding, earlier.get(finding.fingerprint), now, before, worsened_effect)
        for finding in now.findings
    ]
    tested = {finding.fingerprint for finding in now.findings}
    gone = "Confirmed in the baseline and not required of this run: nobody can say it is fixed."
    return compared + [
        Finding(
            fingerprint=finding.fingerprint,
            region=finding.region,
            target_class=finding.target_class,
            role=finding.role,
            test=finding.test,
            status="ERROR",
            reason=gone,
        )
        for finding in before.findings
        if finding.status == "CONFIRMED" and finding.fingerprint not in tested
    ]


def _compared(
    finding: Finding, old: Finding | None, now: Side, before: Side, worsened_effect: float
) -> Finding:
    was_confirmed = old is not None and old.status == "CONFIRMED"
    if finding.status not in ("CONFIRMED", "WAIVED"):
        if not (was_confirmed and finding.status == "CLEARED"):
            return finding
        told = "Fixed since the baseline, where it was CONFIRMED."
        return replace(finding, change="fixed", reason=f"{finding.reason} {told}")
    grown = growth(finding, old, now.inputs, before.inputs) if old and was_confirmed else {}
    if not grown:
        told = f"New: {old.status} in the baseline." if old else "New: not tested in the baseline."
        return replace(finding, change="new", reason=f"{finding.reason} {told}")
    confidence, allowed = now.inputs.config.statistics.confidence, percent(worsened_effect)
    shown = shown_growth(grown)
    largest = max(grown.values(), key=lambda by_act: by_act.effect)
    if shown.lower_limit > worsened_effect:
        told = f"Worse than in the baseline by more than {allowed} ({shown.told(confidence)})."
        return replace(finding, change="worsened", reason=f"{finding.reason} {told}")
    if largest.effect > worsened_effect:
        told = f"Seems worse than in the baseline by more than {allowed}; more samples would tell "
        told += f"({largest.told(confidence)})."
        return replace(finding, change="worsened", reason=f"{finding.reason} {told}")
    told = f"Known from the baseline; it did not grow by {allowed} ({shown.told(confidence)})."
    status = "KNOWN" if finding.status == "CONFIRMED" else finding.status
    return replace(finding, status=status, change="unchanged", reason=f"{finding.reason} {told}")


def growth(now: Finding, before: Finding, inputs: Inputs, earlier: Inputs) -> dict[str, Difference]:
    """How much the effect of every act grew that was measured in both runs."""
    old = {act.act: act for act in before.acts if _is_measured(act)}
    return {
        act.act: difference(
            act,
            old[act.act],
            correlation(
                contributions(inputs, now, act.act), contributions(earlier, before, act.act)
            ),
        )
        for act in now.acts
        if act.act in old and _is_measured(act)
    }


def shown_growth(grown: dict[str, Difference]) -> Difference:
    """The growth by the weakest fill, or by the swap where that shows more."""
    return grown[shown_act(grown)]


def shown_act(grown: dict[str, Difference]) -> str:
    """The weakest fill, or the swap where that shows more."""

    def lower_limit(act: str) -> float:
        return grown[act].lower_limit

    fills = [act for act in grown if act != SWAP]
    swaps = [act for act in grown if act == SWAP]
    return max((min(acts, key=lower_limit) for acts in (fills, swaps) if acts), key=lower_limit)


def difference(now: Act, before: Act, correlated: float) -> Difference:
    """Difference of two effects, see :func:`audit.evidence.change.change`.

    >>> now = Act("swap", 9, 9, 0, effect=0.5, lower_limit=0.4, upper_limit=0.6)
    >>> before = Act("swap", 9, 9, 0, effect=0.2, lower_limit=0.1, upper_limit=0.3)
    >>> apart, alike = difference(now, before, 0.0), difference(now, before, 1.0)
    >>> round(apart.lower_limit, 3), round(alike.lower_limit, 3)
    (0.159, 0.3)
    """
    return Difference(**vars(change(_interval(now), _interval(before), correlated)))


def _is_measured(act: Act) -> bool:
    return None not in (act.effect, act.lower_limit, act.upper_limit)


def _interval(act: Act) -> Interval:
    numbers = (act.effect, act.low, act.high, act.lower_limit, act.upper_limit)
    return Interval(*(math.nan if number is None else number for number in numbers))


def contributions(inputs: Inputs, finding: Finding, act: str) -> pd.Series[float]:
    """What each cluster adds to the excess flips of an act, less its expectation, by cluster name.

    Of sufficiency nothing: answers under cores exchanged between pictures belong to no cluster.
    """
    if finding.test == "sufficiency":
        return pd.Series(dtype=float)
    test, fill = ("swap", "donor") if act == SWAP else ("removal", act.partition(":")[2])
    pairs = pair(inputs, finding.region, test, fill)
    used = (inputs.prediction == finding.target_class) & pairs.there
    excess = (pairs.flipped - pairs.flipped_placebo)[used]
    weights = equal_weights(inputs.cluster[used], inputs.stands_for[used])
    added = pd.Series(weights * (excess - weights @ excess))
    return added.groupby(inputs.samples["cluster_id"].to_numpy(object)[used]).sum()
