"""A finding: one claim about one region and class, with the numbers that decided it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["CONFIRMED", "CLEARED", "INCONCLUSIVE", "ERROR", "WAIVED", "KNOWN"]
Change = Literal["new", "worsened", "unchanged", "fixed"]
Test = Literal["removal", "sufficiency"]
Origin = Literal[
    "data-biased and relied on",
    "data-biased and not relied on",
    "relied on without bias in this data",
    "neither",
]
Attention = Literal["nominated", "silent", "untrusted", "unmeasurable"]

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
class DataBias:
    """Whether the data itself ties the class to something that the region gives away.

    Attributes
    ----------
    status
        biased: significant and above ``association_fail``; unbiased: ``association_pass`` is ruled
        out; undecided: neither.
    part
        training, or audit where the training data is no part of the audit.
    kind, factor
        What is associated most strongly: an attribute, or whether the region is there.
    effect, low, high, p_adjusted
        Bias-corrected Cramer's V of it, its 95 % interval and p.
    also
        Other factors of the region that are biased.
    """

    status: Literal["biased", "unbiased", "undecided"]
    part: str
    kind: str
    factor: str
    effect: float
    low: float | None
    high: float | None
    p_adjusted: float | None
    also: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Addition:
    """A cell of the data: how many independent samples it has and how many to add."""

    label: str
    level: str
    have: int
    add: int


@dataclass(frozen=True)
class Remedy:
    """What to do about a confirmed finding.

    Attributes
    ----------
    sentence
        What to do, in words.
    factor
        Whose cells are to be filled up; None where more data would not help.
    cells
        Those that lack samples (in small tables all).
    augment
        Regions to paint over in training.
    """

    sentence: str
    factor: str | None = None
    cells: list[Addition] = field(default_factory=list)
    augment: list[str] = field(default_factory=list)


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
    data_bias, origin
        Whether the data is biased where the region shows it, and what that and the model's
        reliance make together; None where either is not known.
    remedy
        Of a CONFIRMED finding.
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
    change: Change | None = None
    data_bias: DataBias | None = None
    origin: Origin | None = None
    remedy: Remedy | None = None
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
    if status in ("CONFIRMED", "WAIVED", "KNOWN") and attention == "silent":
        return "hidden cue: relied on, though attention does not show it"
    if (status, attention) == ("CLEARED", "nominated"):
        return "looked at, not relied on"
    return ""


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
