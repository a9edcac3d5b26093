"""A human's decision on a run, as one more claim that the gate needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from audit.config import Section
from audit.gate.findings import Finding, Status
from audit.gate.verdict import Verdict, decide
from audit.gate.waivers import Waiver

Decision = Literal["approve", "reject", "waive"]
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]

SIGN_OFF = "sign-off"
WAIVES_NOTHING = "It waives nothing: the policy does not ask for a sign-off (policy.signoff)."


class SignOff(Section):
    """Who decided what about which run, and why. Who it was is self-declared."""

    decision: Decision = Field(description="approve: seen; reject: do not release; waive: accept")
    by: Words = Field(description="who decided")
    reason: Words = Field(description="why")
    at: datetime = Field(description="when")
    record: str = Field(description="SHA-256 of the run's record as first sealed")
    waivers: list[Waiver] = Field([], description="of the confirmed findings that are accepted")

    @property
    def told(self) -> str:
        """The decision in words."""
        done = {"approve": "Approved", "reject": "Rejected", "waive": "Waived"}[self.decision]
        return f"{done} by {self.by} on {self.at:%Y-%m-%d}: {self.reason}"


def decide_signed(
    findings: Sequence[Finding],
    warnings: Sequence[str],
    signoff: SignOff | None,
    *,
    required: bool,
) -> tuple[list[Finding], Verdict]:
    """The verdict with a human's decision, and the findings it counts.

    A rejection makes it FAIL. Where a sign-off is required and there is none, what would PASS is
    an ERROR. Approving changes no verdict: only a waiver lets a confirmed finding through.

    Parameters
    ----------
    findings, warnings
        As judged, after waivers.
    signoff
        The decision, if there is one.
    required
        Whether the policy wants one.
    """
    verdict = decide(findings, warnings)
    if signoff is None:
        if not required or verdict.verdict != "PASS":
            return list(findings), verdict
        status: Status = "ERROR"
        reason = f"{verdict.reason} It waits for a sign-off: cuecheck signoff RUN approve"
    elif signoff.decision == "reject":
        status, reason = "CONFIRMED", signoff.told
    else:
        void = "" if required or signoff.decision != "waive" else f" {WAIVES_NOTHING}"
        told = f"{signoff.told}.{void}"
        return list(findings), replace(verdict, warnings=[*verdict.warnings, told])
    counted = [*findings, _claim(status, reason)]
    return counted, replace(decide(counted, warnings), reason=reason)


def _claim(status: Status, reason: str) -> Finding:
    return Finding(
        fingerprint=SIGN_OFF,
        region=SIGN_OFF,
        target_class="*",
        role="*",
        test="removal",
        status=status,
        reason=reason,
    )
