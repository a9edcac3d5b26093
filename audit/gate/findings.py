"""A finding: one claim about one region and class, with the numbers that decided it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["CONFIRMED", "CLEARED", "INCONCLUSIVE", "ERROR", "WAIVED", "KNOWN"]
Change = Literal["new", "worsened", "unchanged", "fixed"]
Test = Literal["removal", "sufficiency"]

SWAP = "swap"


@dataclass(frozen=True)
class Act:
    """One act of a test (a fill or the swap) as in the evidence table; None where not finite."""

    act: str
    n: int
    clusters: int
    excluded: int
    undrawn: int = 0
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
    change
        Against a baseline; None without one, or where neither run confirms the claim.
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
    change: Change | None = None


def fingerprint(audit: str, region: str, target_class: str, test: str) -> str:
    """Stable name of a claim.

    >>> fingerprint("demo", "hair", "nurse", "removal")
    '326169468bc74eab'
    """
    claim = json.dumps([audit, region, target_class, test])
    return hashlib.sha256(claim.encode()).hexdigest()[:16]


def name_of(finding: Finding) -> str:
    """The claim in a few words."""
    target = "" if finding.target_class == "*" else f" for '{finding.target_class}'"
    return f"{finding.region}{target}"
