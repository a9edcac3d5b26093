"""A finding: one claim about one region and class, with the numbers that decided it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["CONFIRMED", "CLEARED", "INCONCLUSIVE", "ERROR", "WAIVED"]
Test = Literal["removal", "sufficiency"]
Attention = Literal["nominated", "silent", "untrusted", "unmeasurable"]

SWAP = "swap"


@dataclass(frozen=True)
class Act:
    """One act of a test (a fill or the swap) as in the evidence table; None where not finite."""

    act: str
    n: int
    clusters: int
    excluded: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    lower_limit: float | None = None
    upper_limit: float | None = None
    margin_effect: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    detectable: float | None = None

    @property
    def tested(self) -> float:
        """Part of the pictures with the region that the act was done on."""
        return self.n / (self.n + self.excluded) if self.n else 0.0


@dataclass(frozen=True)
class WorstSubgroup:
    """The subgroup in which the deciding act has the largest effect."""

    attribute: str
    subgroup: str
    effect: float


@dataclass(frozen=True)
class Finding:
    """One claim about one region and the class predicted.

    Attributes
    ----------
    fingerprint
        Names the claim from run to run: it depends on no number.
    region, target_class, role, test
        What is claimed; class '*' means all.
    status, reason
        What was decided, and why, in one sentence.
    effect, low, high, lower_limit, upper_limit
        Of the deciding act: for CONFIRMED the weakest fill, or the swap where that convicts; else
        the act with the highest upper limit.
    p_adjusted
        Of the weakest act.
    n, clusters
        Of the smallest act.
    clusters_needed
        Of an open finding: clusters at which four of five audits would decide, if the effects
        stay; None where no number would.
    acts
        All acts.
    worst_subgroup
        Of the deciding act, among subgroups with enough clusters; None where there is none.
    attention
        What the attention screen says of the region and the true class; the status does not rest
        on it.
    """

    fingerprint: str
    region: str
    target_class: str
    role: str
    test: Test
    status: Status
    reason: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    lower_limit: float | None = None
    upper_limit: float | None = None
    p_adjusted: float | None = None
    n: int = 0
    clusters: int = 0
    clusters_needed: float | None = None
    acts: list[Act] = field(default_factory=list)
    worst_subgroup: WorstSubgroup | None = None
    attention: Attention = "unmeasurable"

    @property
    def reading(self) -> str:
        """What status and attention say together."""
        return reading(self.status, self.attention)


def reading(status: str, attention: str) -> str:
    """What a status and the attention screen say together; empty where that is nothing more.

    >>> reading("CONFIRMED", "silent")
    'hidden cue: relied on, though attention does not show it'
    """
    return {
        ("CONFIRMED", "silent"): "hidden cue: relied on, though attention does not show it",
        ("WAIVED", "silent"): "hidden cue: relied on, though attention does not show it",
        ("CLEARED", "nominated"): "looked at, not relied on",
    }.get((status, attention), "")


def fingerprint(audit: str, region: str, target_class: str, test: str) -> str:
    """Stable name of a claim.

    >>> fingerprint("demo", "hair", "nurse", "removal")
    '326169468bc74eab'
    """
    claim = json.dumps([audit, region, target_class, test])
    return hashlib.sha256(claim.encode()).hexdigest()[:16]
