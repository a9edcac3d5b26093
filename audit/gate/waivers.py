"""Waivers: confirmed findings that somebody answers for, up to an effect and a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from pydantic import Field

from audit.config import Fraction, Section
from audit.config_file import read_model
from audit.gate.findings import Finding, name_of
from audit.gate.reasons import percent

LASTS = timedelta(days=30)  # where no end is given


class Waiver(Section):
    """Somebody's word that a confirmed finding is accepted for a time.

    What an entry lacks is told as a warning, and it waives nothing; so every field may be empty.
    """

    fingerprint: str = Field("", description="of the finding, as in findings.json")
    finding: str = Field("", description="the finding in words, for the reader; decides nothing")
    reason: str = Field("", description="why it is accepted")
    owner: str = Field("", description="who answers for it")
    created: date | None = Field(None, description="first day it holds (UTC)")
    expires: date | None = Field(None, description="last day it holds; default: 30 days on")
    max_effect: Fraction | None = Field(None, description="largest effect it covers")

    @property
    def ends(self) -> date | None:
        """Last day on which it holds."""
        return self.expires or (self.created and self.created + LASTS)


class Waivers(Section):
    """A file of waivers."""

    waivers: list[Waiver] = Field(description="accepted findings; may be empty")


def read_waivers(path: Path, *, sealed: bool = False) -> list[Waiver]:
    """Read a file of waivers; of a run's own copy, which is sealed, without the environment.

    Raises
    ------
    ConfigError
        If it cannot be read, or a key or a value is none; names file, line and key.
    """
    return read_model(path, Waivers, sealed=sealed).waivers


def waive(
    findings: Sequence[Finding], waivers: Sequence[Waiver], today: date
) -> tuple[list[Finding], list[str]]:
    """Mark confirmed findings that a valid waiver covers.

    A waiver is void that is incomplete, not yet or no longer valid, for a fingerprint that no
    finding has or that is waived twice, or for a finding that is not CONFIRMED or whose effect is
    larger than it covers. Only CONFIRMED can be waived: that nothing was found out is no finding.

    Parameters
    ----------
    findings
        As judged.
    waivers
        As read.
    today
        The day (UTC) on which they must hold.

    Returns
    -------
    findings
        The same, in the same order; those covered are WAIVED, with owner and last day in their
        reason.
    warnings
        A sentence for every waiver that covers nothing, in the order of the file.
    """
    by_print = {finding.fingerprint: finding for finding in findings}
    times = Counter(waiver.fingerprint for waiver in waivers)
    covered: dict[str, Waiver] = {}
    warnings = []
    for number, waiver in enumerate(waivers, start=1):
        finding = by_print.get(waiver.fingerprint)
        fault = _fault(waiver, finding, times[waiver.fingerprint] > 1, today)
        if fault is None:
            covered[waiver.fingerprint] = waiver
        else:
            about = name_of(finding) if finding else waiver.finding or waiver.fingerprint
            warnings.append(f"Waiver {number} ({about or 'no fingerprint'}) is void: {fault}.")
    marked = [
        _waived(finding, covered[finding.fingerprint])
        if finding.fingerprint in covered
        else finding
        for finding in findings
    ]
    return marked, warnings


def _fault(waiver: Waiver, finding: Finding | None, twice: bool, today: date) -> str | None:
    """Why a waiver covers nothing, or None where it covers its finding."""
    return _incomplete(waiver) or _untimely(waiver, today) or _off_target(waiver, finding, twice)


def _incomplete(waiver: Waiver) -> str | None:
    wanted = ("fingerprint", "reason", "owner")
    lacking = [name for name in wanted if not getattr(waiver, name).strip()]
    lacking += [name for name in ("created", "max_effect") if getattr(waiver, name) is None]
    return f"it has no {', '.join(lacking)}" if lacking else None


def _untimely(waiver: Waiver, today: date) -> str | None:
    created, ends = waiver.created, waiver.ends
    assert created is not None
    assert ends is not None
    if ends < created:
        return f"it expires on {ends}, before it was created on {created}"
    if created > today:
        return f"it was created on {created}, after today ({today} UTC)"
    return f"it expired on {ends}" if today > ends else None


def _off_target(waiver: Waiver, finding: Finding | None, twice: bool) -> str | None:
    if twice:
        return f"fingerprint {waiver.fingerprint} is waived twice; keep one"
    if finding is None:
        return f"no finding of this run has the fingerprint {waiver.fingerprint}"
    if finding.status != "CONFIRMED":
        return f"the finding is {finding.status}, and only CONFIRMED can be waived"
    assert waiver.max_effect is not None
    largest = largest_effect(finding)
    if largest is None or largest > waiver.max_effect:
        most = percent(waiver.max_effect)
        return f"the effect is {percent(largest)}, and it covers {most} at most"
    return None


def largest_effect(finding: Finding) -> float | None:
    """By the act that shows most: the effect of a finding is that of the weakest."""
    effects = [act.effect for act in finding.acts if act.effect is not None]
    return max(effects, default=finding.effect)


def _waived(finding: Finding, waiver: Waiver) -> Finding:
    told = f"Waived by {waiver.owner} up to and including {waiver.ends}: {waiver.reason}"
    return replace(finding, status="WAIVED", reason=f"{finding.reason} {told}")
