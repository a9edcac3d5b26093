"""The report's language: plain words for what the tables call by short names."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from typing import TypeGuard

from audit.tables import ALL

THIN = "\u202f"  # narrow no-break space
MINUS = "\u2212"

VERDICTS = {
    "PASS": ("✓", "No forbidden cue was found to matter, and the data was enough to say so."),
    "FAIL": ("✕", "At least one forbidden cue was shown to drive decisions."),
    "INCONCLUSIVE": ("?", "The data was not enough to confirm or to clear every cue."),
    "ERROR": ("!", "A required test could not be run; this is not a pass."),
}

STATUSES = {
    "CONFIRMED": ("Confirmed", "Shown to drive decisions although it must not."),
    "INCONCLUSIVE": ("Inconclusive", "Neither shown nor ruled out with this much data."),
    "ERROR": ("Could not run", "A number that the verdict needs is missing."),
    "WAIVED": ("Waived", "Confirmed, and accepted by a named owner for a limited time."),
    "KNOWN": ("Known", "Confirmed, and no worse than in the baseline."),
    "CLEARED": ("Cleared", "Reliance above the pass limit is ruled out."),
}

TERMS = {
    "excess": "How many more predictions change when the region is hidden than when an area of "
    "the same size elsewhere is hidden. 0 % means: no more than by chance.",
    "sufficiency": "How often the model keeps its answer when what the core says in it comes from "
    "another picture, beyond chance: 0 % if the core alone decides, 100 % if the rest alone does.",
    "interval": "If the audit were repeated on fresh samples, about 95 of 100 such intervals would "
    "hold the true value.",
    "clusters": "Samples that belong together (one patient, one scene) count as one independent "
    "unit.",
    "p": "Chance of a result at least this strong if the region did not matter, corrected for "
    "testing many regions (Holm).",
    "margin": "Score of the predicted class minus the best other score. Below 0 the prediction "
    "changes.",
    "margin-drop": "How much the lead of the predicted class shrinks, beyond the same act "
    "elsewhere, in standard deviations of that lead.",
    "grad-cam": "A heat map of the places that raised the score of a class (Selvaraju et al., "
    "2017). It shows where the model looks, not whether it relies on it.",
    "guided": "A fine-grained version of the heat map for the eye; it never enters the verdict.",
    "agreement": "How far the places where a channel fires lie in the region: 0 is chance, 1 all "
    "that their sizes allow (Loevinger's H). From 0.3 the channel is named.",
    "placebo": "The same alteration on an equal area elsewhere in the picture.",
    "quarantined": "Samples that could not be read or checked. They were left out and are listed "
    "with the reason.",
    "density": "Attention per area inside the region, divided by that outside it. 1 means that the "
    "region gets no more than its size would suggest.",
    "share": "Part of the heat map that falls inside the region.",
    "worst-group": "The class and subgroup with the fewest right answers, of those with enough "
    "independent pictures. The limit holds for all of them at once.",
    "aligned": "Aligned: pictures of a subgroup that the training data has more often in their "
    "class than chance would. Conflicting: the others. A model that learned the shortcut does "
    "worse on these.",
    "calibration-gap": "Stated confidence less the share of right answers. Above 0 the model is "
    "surer than it should be.",
    "brier": "Mean squared distance of the confidence from being right (1) or wrong (0). Less is "
    "better.",
    "ece": "Typical distance of confidence from accuracy over bins of confidence, less what chance "
    "alone adds; 0 where chance explains it all.",
    "true-margin": "How much the lead of the right answer shrinks when the region is hidden or "
    "swapped, beyond the placebo, in standard deviations. Above 0 the region helps these pictures, "
    "below 0 it misleads the model on them.",
    "forbidden": "A decision must not rest on this region.",
    "core": "What the class is about; the evidence that should count.",
}

TERMS |= {
    "filter-class": "The true class; in the charts of reliance the class that the model answers, "
    "since that is what altering a region can change.",
    "q": "Smallest false discovery rate at which this row would count: corrected for all rows of "
    "the screen (Benjamini and Hochberg).",
    "attention-nominated": "The attention screen found the region out of the ordinary for this "
    "class. That decides nothing.",
    "attention-silent": "The attention screen found nothing. That clears nothing: it is blind to a "
    "region that hardly moves.",
    "attention-untrusted": "The heat maps did not pass their checks on this model.",
    "attention-unmeasurable": "Too few maps, or the region is too small on their grid.",
}

LIMITS = (
    ("Unknown cues", "Only annotated regions are tested. A cue that nobody marked goes unseen."),
    ("Invisible cues", "Blur, compression or a faint tint have no place in the picture, so no "
     "region can hold them."),
    ("Looked at, but unused", "A region can attract attention without changing any answer. That is "
     "why attention alone never decides the verdict."),
    ("Centre prior", "Heat maps tend to favour the centre. A centred region gets attention for "
     "where it is, not for what it is."),
    ("Region size", "Regions smaller than two cells of the heat map are not measurable by "
     "attention, and large ones always hold a large share."),
    ("Fill bias", "Hiding a region makes an unnatural picture, and the model may react to the "
     "fill. At least two fills and an equal area elsewhere guard against this, not perfectly."),
    ("Wrong subgroup labels", "Results by subgroup are as good as the labels of the subgroups."),
    ("One training seed", "The audit judges this one set of weights. The same recipe with another "
     "seed may rely on other cues."),
)  # fmt: skip

UNTRUSTED = (
    "The heat maps failed their checks on this model (or could not be checked): read this with "
    "care."
)

_FILLS = {
    "blur": "blurred",
    "local-mean": "painted over",
    "noise": "noise",
    "inpaint": "continued from its border",
    "donor": "swapped",
}


def fill(name: str) -> str:
    """A fill in plain words; unknown ones as they are."""
    return _FILLS.get(name, name)


def act(name: str) -> str:
    """An act of the evidence table in plain words.

    >>> act("remove:blur"), act("swap"), act("keep:noise")
    ('hidden: blurred', 'swapped with another subgroup', 'seen alone: noise')
    """
    kind, _, detail = name.partition(":")
    if kind == "swap":
        return "swapped with another subgroup"
    words = {"remove": "hidden", "keep": "seen alone"}.get(kind)
    return f"{words}: {fill(detail)}" if words else name


def class_name(name: str) -> str:
    """A class, or the words for all of them."""
    return "all classes" if name == ALL else name


def percent(value: float | None, *, signed: bool = False, digits: int | None = None) -> str:
    r"""A fraction as a percentage; a dash where there is none.

    >>> percent(0.234), percent(0.034), percent(None)
    ('23\u202f%', '3.4\u202f%', '–')
    """
    if not finite(value):
        return "–"
    points = 100 * value
    if digits is None:
        digits = 0 if abs(points) >= 9.95 or abs(points) < 0.05 else 1
    text = f"{abs(points):.{digits}f}"
    negative = points < 0 and float(text) != 0
    sign = MINUS if negative else "+" if signed and float(text) != 0 else ""
    return f"{sign}{text}{THIN}%"


def interval(low: float | None, high: float | None) -> str:
    r"""A 95 % interval of a fraction.

    >>> interval(0.12, 0.31)
    '12 to 31\u202f%'
    """
    if not (finite(low) and finite(high)):
        return "no interval"
    first, last = percent(low), percent(high)
    return f"{first.removesuffix(THIN + '%')} to {last}"


def ratio(log: float | None) -> str:
    """A logarithm as the ratio it stands for.

    >>> ratio(0.0), ratio(None)
    ('1.00×', '–')
    """
    return f"{math.exp(log):.2f}×" if finite(log) else "–"


def number(value: float | int | None, digits: int = 2) -> str:
    """A plain number with grouped thousands; a dash where there is none."""
    if not finite(value):
        return "–"
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{digits}f}"
    return text.replace(",", THIN).replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p value.

    >>> p_value(0.00004), p_value(0.042)
    ('< 0.001', '0.042')
    """
    if not finite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def finite(value: object) -> TypeGuard[float]:
    """Whether there is a number to show."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def short(name: object, limit: int = 48) -> str:
    """A name cut to ``limit`` characters.

    >>> short("abcdef", 4)
    'abc…'
    """
    text = " ".join(str(name).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def joined(names: list[str]) -> str:
    """Names as an enumeration.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plotly_text(name: object, limit: int = 24) -> str:
    """A name as Plotly shows it literally: its own markup escaped, direction isolated."""
    return _escaped(short(name, limit))


def plotly_hover(name: object) -> str:
    """A name for hover boxes: wrapped, at most 200 characters, escaped."""
    return "<br>".join(_escaped(line) for line in textwrap.wrap(short(name, 200), 48)) or " "


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    right_to_left = any(unicodedata.bidirectional(letter) in {"R", "AL"} for letter in text)
    return f"\u2068{text}\u2069" if right_to_left else text
