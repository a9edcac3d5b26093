"""Every claim of two runs, before and after: the ratchet's changes, and what it leaves unnamed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from audit.gate.baseline import Difference, Side, growth, ratchet, shown_act
from audit.gate.findings import Act, Finding

Kind = Literal["fixed", "new", "worsened", "improved", "unchanged", "not comparable"]


@dataclass(frozen=True)
class Compared:
    """One claim in two runs.

    Attributes
    ----------
    kind
        What became of it.
    before, now
        The finding of either run; None where the run did not test the claim.
    act_before, act_now
        The act that is shown, in either run; None where they have none in common.
    difference
        Its effect now less before.
    """

    kind: Kind
    before: Finding | None
    now: Finding | None
    act_before: Act | None = None
    act_now: Act | None = None
    difference: Difference | None = None

    @property
    def claim(self) -> Finding:
        """The finding that names the claim: now, or else before."""
        found = self.now or self.before
        assert found is not None
        return found


def compare_claims(now: Side, before: Side, worsened_effect: float) -> list[Compared]:
    """Compare findings claim by claim, both judged by the same limits and before waivers.

    *Fixed*, *new* and *worsened* are the ratchet's. Other claims are *worsened* or *improved* where
    the effect grew or shrank by more than ``worsened_effect`` for certain: by every fill, or by the
    swap. *Not comparable* is what one run did not test or could not judge, or what was tested by
    other acts. All else is *unchanged*: no change was shown.
    """
    earlier = {finding.fingerprint: finding for finding in before.findings}
    ours = {finding.fingerprint: finding for finding in now.findings}
    changes = {one.fingerprint: one.change for one in ratchet(now, before, worsened_effect)}
    found = []
    kind: Kind
    for name in [*ours, *(name for name in earlier if name not in ours)]:
        one, old = ours.get(name), earlier.get(name)
        grown = growth(one, old, now.inputs, before.inputs) if one and old else {}
        named = changes.get(name)
        if named is None or named == "unchanged":
            kind = _kind(one, old, grown, worsened_effect)
        else:
            kind = named
        found.append(_shown(Compared(kind, old, one), grown))
    return found


def _kind(
    now: Finding | None, before: Finding | None, grown: dict[str, Difference], allowed: float
) -> Kind:
    if not (now and before and grown) or "ERROR" in (now.status, before.status):
        return "not comparable"
    shrunk = _turned(grown)
    if grown[shown_act(grown)].lower_limit > allowed:
        return "worsened"
    if shrunk[shown_act(shrunk)].lower_limit > allowed:
        return "improved"
    return "unchanged"


def _shown(claim: Compared, grown: dict[str, Difference]) -> Compared:
    """With the act that says least: the weakest growth, or where it shrank the weakest fall."""
    if not (grown and claim.now and claim.before):
        return claim
    act = shown_act(grown)
    if grown[act].effect < 0:
        act = shown_act(_turned(grown))
    now, before = (
        next(one for one in finding.acts if one.act == act) for finding in (claim.now, claim.before)
    )
    return replace(claim, act_before=before, act_now=now, difference=grown[act])


def _turned(grown: dict[str, Difference]) -> dict[str, Difference]:
    """The differences of before less now."""
    return {
        act: Difference(-d.effect, -d.high, -d.low, -d.upper_limit, -d.lower_limit)
        for act, d in grown.items()
    }
