"""Sign-off: the decisions of people on a finished run, in ``signoff.json`` beside its record.

They come after the record, so it does not cover them; each names the record it is about. The last
one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from pydantic import ValidationError

from audit.errors import ConfigError, RunError
from audit.gate.findings import Finding, name_of
from audit.gate.signoff import SIGN_OFF, Decision, SignOff
from audit.gate.waivers import LASTS, Waiver, largest_effect
from audit.runs.chain import record_digest
from audit.runs.files import read_json, write_json
from audit.runs.folder import Run, working_on

_MEND = "see what it said, move it away, and sign the run off again"


def sign_off(
    run: Run,
    findings: Sequence[Finding],
    decision: Decision,
    by: str,
    reason: str,
    until: date | None = None,
) -> SignOff:
    """Add a decision to a finished run.

    Parameters
    ----------
    run
        The run.
    findings
        Its findings as they are judged today; those CONFIRMED, or waived by the decision so far,
        are what ``waive`` accepts, up to the effect they have.
    decision, by, reason
        What was decided, by whom and why.
    until
        Last day on which what is waived is accepted; default: 30 days on.

    Raises
    ------
    ConfigError
        If name or reason are empty, a day is given where nothing is waived, or nothing can be.
    RunError
        If another process works on the run: of two decisions at once one would be lost.
    """
    with working_on(run):
        return _add(run, findings, decision, by, reason, until)


def _add(
    run: Run,
    findings: Sequence[Finding],
    decision: Decision,
    by: str,
    reason: str,
    until: date | None,
) -> SignOff:
    if until is not None and decision != "waive":
        raise ConfigError("--until: only for waive")
    now = datetime.now(UTC).replace(microsecond=0)
    earlier = _decisions(run)
    accepted = _to_waive(findings, earlier) if decision == "waive" else []
    if decision == "waive" and not accepted:
        raise ConfigError(f"{run.folder}: nothing to waive: no finding is CONFIRMED")
    last = until or now.date() + LASTS
    if last < now.date():
        raise ConfigError(f"--until: {last} is past")
    try:
        signed = SignOff(
            decision=decision,
            by=by,
            reason=reason,
            at=now,
            record=record_digest(run),
            waivers=[_waiver(finding, by, reason, now.date(), last) for finding in accepted],
        )
    except ValidationError as error:
        fault = error.errors()[0]
        most = fault.get("ctx", {}).get("max_length")
        told = "must say something" if most is None else f"at most {most} characters"
        raise ConfigError(f"--{fault['loc'][0]}: {told}") from error
    decisions = [one.model_dump(mode="json") for one in [*earlier, signed]]
    write_json(run.signoff, {"decisions": decisions})
    return signed


def read_signoff(run: Run) -> SignOff | None:
    """The last decision on a run; None where there is none.

    Raises
    ------
    RunError
        If the file cannot be read, or is about another run.
    """
    decisions = _decisions(run)
    if not decisions:
        return None
    if decisions[-1].record != record_digest(run):
        raise RunError(f"{run.signoff}: is about another record; sign the run off again")
    return decisions[-1]


def _decisions(run: Run) -> list[SignOff]:
    if not run.signoff.exists():
        return []
    try:
        stored = read_json(run.signoff, "decisions")["decisions"]
    except RunError as error:
        raise RunError(f"{error}; {_MEND}") from error
    try:
        return [SignOff.model_validate(one) for one in stored]
    except (TypeError, ValidationError) as error:
        raise RunError(f"{run.signoff}: holds no decisions; {_MEND}") from error


def _to_waive(findings: Sequence[Finding], earlier: Sequence[SignOff]) -> list[Finding]:
    """What a waive accepts: it takes the place of the decision before, and renews its waivers."""
    renewed = {waiver.fingerprint for one in earlier[-1:] for waiver in one.waivers}
    return [
        finding
        for finding in findings
        if finding.fingerprint != SIGN_OFF
        and (
            finding.status == "CONFIRMED"
            or (finding.status == "WAIVED" and finding.fingerprint in renewed)
        )
    ]


def _waiver(finding: Finding, owner: str, reason: str, first: date, last: date) -> Waiver:
    return Waiver(
        fingerprint=finding.fingerprint,
        finding=name_of(finding),
        reason=reason,
        owner=owner,
        created=first,
        expires=last,
        max_effect=_rounded_up(largest_effect(finding)),
    )


def _rounded_up(effect: float | None) -> float:
    return 0.0 if effect is None else min(1.0, max(0.0, effect + 1e-9))
