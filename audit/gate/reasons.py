"""Why a finding has its status: one plain sentence with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.gate.findings import SWAP, Act, Test


def percent(value: float | None) -> str:
    """A fraction as a percentage, with a decimal where it is small.

    >>> percent(0.234), percent(0.034), percent(-0.0001), percent(None)
    ('23 %', '3.4 %', '0 %', 'unknown')
    """
    if value is None:
        return "unknown"
    points = 100 * value
    text = f"{points:.0f}" if abs(points) >= 9.95 else f"{points:.1f}".removesuffix(".0")
    return f"{'0' if text == '-0' else text} %"


@dataclass(frozen=True)
class Wording:
    """Sentences about one claim.

    Parameters
    ----------
    region, target_class, test
        The claim.
    confidence
        Of the intervals.
    """

    region: str
    target_class: str
    test: Test
    confidence: float

    @property
    def predictions(self) -> str:
        """What the claim is about."""
        return (
            "predictions" if self.target_class == "*" else f"predictions of '{self.target_class}'"
        )

    def confirmed(self, act: Act) -> str:
        """Reliance is shown.

        >>> act = Act("remove:blur", 200, 200, 3, effect=0.23, low=0.17, high=0.29)
        >>> print(Wording("hair", "nurse", "removal", 0.95).confirmed(act))
        Predictions of 'nurse' rest on hair: removing it (blur) changes 23 % more answers than \
removing an equal area elsewhere (95 % limits 17 % to 29 %).
        """
        return _sentence(f"{self.predictions} rest on {self.region}: {self._effect(act)}")

    def cleared(self, act: Act, ruled_out: float) -> str:
        """Reliance is ruled out."""
        return _sentence(
            f"{self.predictions} do not rest on {self.region}: at worst, {self._effect(act)}, "
            f"so {percent(ruled_out)} or more is ruled out"
        )

    def undecided(self, act: Act, clusters: float | None) -> str:
        """Neither shown nor ruled out; clusters that would decide, None if no number would."""
        needed = (
            "the acts disagree so much that more samples would not settle it"
            if clusters is None
            else f"about {clusters:,.0f} independent samples would decide, if the effects stay"
        )
        return _sentence(
            f"not decided whether {self.predictions} rest on {self.region}: {self._effect(act)}; "
            f"{needed}{_more_to_draw(act)}"
        )

    def small(self, act: Act, minimum: int) -> str:
        """Too few clusters."""
        what = f"{self.region} could be tested on {act.clusters:,} independent samples"
        least = " of the class predicted least" if self.test == "sufficiency" else ""
        return _sentence(
            f"too few samples to tell whether {self.predictions} rest on {self.region}: "
            f"{what}{least} ({act.act}; {act.excluded:,} samples left out), {minimum:,} are needed"
            f"{_more_to_draw(act)}"
        )

    def never(self) -> str:
        """Nothing to test, which more pictures may not change."""
        return _sentence(
            f"cannot tell whether {self.predictions} rest on {self.region}: no picture that shows "
            f"it was predicted so; if the class was hardly predicted at all, train longer or check "
            f"weights, input and the order of the classes"
        )

    def selected(self, act: Act) -> str:
        """Ruled out, but only where it could be tested."""
        return _sentence(
            f"not decided whether {self.predictions} rest on {self.region}: it was ruled out on "
            f"{act.n:,} pictures, but {act.excluded:,} more that have it could not be tested "
            f"({act.act})"
        )

    def absent(self, acts: Sequence[str]) -> str:
        """The evidence lacks acts that the configuration asks for."""
        return self._unknown(f"the evidence lacks {', '.join(acts)}")

    def unfinished(self, acts: Sequence[str]) -> str:
        """Acts without a finite number."""
        return self._unknown(f"a number is missing or not finite for {', '.join(acts)}")

    def _unknown(self, why: str) -> str:
        return _sentence(f"cannot tell whether {self.predictions} rest on {self.region}: {why}")

    def _effect(self, act: Act) -> str:
        kind, _, fill = act.act.partition(":")
        effect = act.effect or 0.0
        size, more = percent(abs(effect)), "fewer" if effect < 0 else "more"
        limits = f"({100 * self.confidence:.4g} % limits {percent(act.low)} to {percent(act.high)})"
        if self.test == "sufficiency":
            beyond = "below" if effect < 0 else "beyond"
            return (
                f"with what the core says ({fill}) taken from other pictures, {size} of the "
                f"answers are kept {beyond} chance {limits}"
            )
        if kind == SWAP:
            return (
                f"taking it from another subgroup changes {size} {more} answers than taking it "
                f"from the same {limits}"
            )
        return (
            f"removing it ({fill}) changes {size} {more} answers than removing an equal area "
            f"elsewhere {limits}"
        )


def _more_to_draw(act: Act) -> str:
    """That the data set has more than were altered.

    >>> _more_to_draw(Act("swap", 200, 200, 3, undrawn=1500))
    '; 1,500 more that have it were not drawn (interventions.per_cell)'
    """
    if act.undrawn == 0:
        return ""
    return f"; {act.undrawn:,} more that have it were not drawn (interventions.per_cell)"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
