"""The verdict of an audit, and its file, which is believed only if it is whole and consistent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from audit.errors import RunError
from audit.gate.findings import Finding, Status, name_of

Outcome = Literal["PASS", "FAIL", "ERROR", "INCONCLUSIVE"]

EXIT_CODES: dict[Outcome, int] = {"PASS": 0, "FAIL": 1, "ERROR": 4, "INCONCLUSIVE": 5}
_NAMED = 3  # findings named in the reason
_ALWAYS = [status for status in get_args(Status) if status != "KNOWN"]  # counted, be it as 0


@dataclass(frozen=True)
class Verdict:
    """The answer to "may this model be released?".

    Attributes
    ----------
    verdict
        PASS, FAIL, ERROR or INCONCLUSIVE.
    reason
        One sentence.
    counts
        Number of required findings of each status; of KNOWN only against a baseline.
    warnings
        What the reader of the verdict must know besides, such as waivers that do not hold.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    verdict: Outcome
    reason: str
    counts: dict[Status, int]
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Exit code of the command that obeys the verdict."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> str:
        """The verdict as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Read a verdict back.

        Raises
        ------
        RunError
            If a field is missing, unknown or of the wrong kind, or the verdict does not follow
            from the counts.
        """
        try:
            verdict = TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(step) for step in fault["loc"]) or "the file"
            raise RunError(
                f"not a verdict: {where}: {fault['msg']}; run the audit again"
            ) from error
        counts = verdict.counts
        if set(counts) - {"KNOWN"} != set(_ALWAYS) or min(counts.values()) < 0:
            raise RunError("not a verdict: the counts of findings are wrong; run the audit again")
        if _outcome(counts) != verdict.verdict:
            raise RunError(
                f"not a verdict: {verdict.verdict} does not follow from {counts}; "
                "run the audit again"
            )
        return verdict

    @classmethod
    def read(cls, path: Path) -> Verdict:
        """Read the file of a verdict.

        Raises
        ------
        RunError
            If it is missing or is not one.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{path}: missing; did the run finish?") from error
        except (OSError, UnicodeDecodeError, RunError) as error:
            raise RunError(f"{path}: {error}") from error


def decide(findings: Sequence[Finding], warnings: Sequence[str] = ()) -> Verdict:
    """Verdict over the required findings.

    ERROR if any is ERROR or there are none; else FAIL if any is CONFIRMED; PASS if all are CLEARED,
    WAIVED or KNOWN; else INCONCLUSIVE.
    """
    counts: dict[Status, int] = dict.fromkeys(_ALWAYS, 0)
    for finding in findings:
        counts[finding.status] = counts.get(finding.status, 0) + 1
    outcome = _outcome(counts)
    return Verdict(outcome, _reason(outcome, findings, counts), counts, list(warnings))


def refused(reason: str, warnings: Sequence[str] = ()) -> Verdict:
    """ERROR, because something that the verdict needs cannot be used; nothing was judged."""
    return replace(decide([], warnings), reason=reason)


def _outcome(counts: Mapping[Status, int]) -> Outcome:
    if counts["ERROR"] or not sum(counts.values()):
        return "ERROR"
    if counts["CONFIRMED"]:
        return "FAIL"
    return "INCONCLUSIVE" if counts["INCONCLUSIVE"] else "PASS"


def _reason(outcome: Outcome, findings: Sequence[Finding], counts: Mapping[Status, int]) -> str:
    total = len(findings)
    if not total:
        return "Nothing was tested: no region is forbidden or required for any class."
    if outcome == "PASS":
        waived = f", {counts['WAIVED']} waived" if counts["WAIVED"] else ""
        known = counts.get("KNOWN", 0)
        waived += f", {known} known from the baseline" if known else ""
        return f"Reliance is ruled out in {counts['CLEARED']} of {total} required tests{waived}."
    status, what = {
        "ERROR": ("ERROR", "could not be judged"),
        "FAIL": ("CONFIRMED", "show that predictions rest on what they must not"),
        "INCONCLUSIVE": ("INCONCLUSIVE", "are not decided"),
    }[outcome]
    named = [name_of(finding) for finding in findings if finding.status == status]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{len(named)} of {total} required tests {what}: {', '.join(named[:_NAMED])}{more}."
