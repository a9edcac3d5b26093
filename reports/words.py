"""The report's language: plain words for what the tables call by short names."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from typing import TypeGuard

from audit.tables import ALL, CROSS

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
    "SUSPECT": ("Suspect", "The heat maps dwell on it; hiding it has not decided yet."),
    "HIDDEN": ("Hidden", "Shown to drive decisions, though the heat maps do not show it."),
    "CLEARED": ("Cleared", "Reliance above the pass limit is ruled out."),
    "INCONCLUSIVE": ("Inconclusive", "Neither shown nor ruled out with this much data."),
    "ERROR": ("Could not run", "A number that the verdict needs is missing."),
    "WAIVED": ("Waived", "Confirmed, and accepted by a named owner for a limited time."),
    "KNOWN": ("Known", "Confirmed, and no worse than in the baseline."),
}

#: The sign beside the colour of a status, which is never the only one.
SIGNS = {
    "CONFIRMED": "✕",
    "SUSPECT": "?",
    "HIDDEN": "✕",
    "CLEARED": "✓",
    "INCONCLUSIVE": "?",
    "ERROR": "!",
    "WAIVED": "–",
    "KNOWN": "=",
}

TERMS = {
    "excess": "How many more predictions change when the region is hidden than when an area of "
    "the same size elsewhere is hidden. 0 % means: no more than by chance.",
    "sufficiency": "How often the model keeps its answer when what the core says in it comes from "
    "another picture, beyond chance: 0 % if the core alone decides, 100 % if the rest alone does.",
    "interval": "If the audit were repeated on fresh samples, about {confidence} of such intervals "
    "would hold the true value.",
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
    "counterfactual": "Places that lower the score of a class: where there is evidence against it. "
    "Heat maps with the sign turned (section 3.3 of the Grad-CAM paper). It shows where, not "
    "whether, an answer would change.",
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
    "mean-density": "Part of the attention in a place, divided by the part that it would get if "
    "attention were spread evenly over the picture.",
    "filter-class": "The true class; in the charts of reliance the class that the model answers, "
    "since that is what altering a region can change.",
    "q": "Smallest false discovery rate at which this row would count: corrected for all rows of "
    "the screen (Benjamini and Hochberg).",
    "left-out": "Pictures that the test could not be done on, such as those without room for an "
    "equal area elsewhere.",
    "fill": "What a hidden region is painted over with. The weakest of several is the one that "
    "counts.",
    "one-sided": "With the audit's confidence the true value is above the first limit; with the "
    "same confidence, taken by itself, below the second. They are held against the policy's.",
    "policy-limits": "Reliance is shown where the lower limit is above the fail limit, and ruled "
    "out where the upper limit is below the pass limit. Everything between is not decided.",
    "fingerprint": "Names the same claim in every run; waivers and baselines refer to it.",
    "origin": "Whether the data ties the region to the class, and whether the model relies on it: "
    "told together, since they call for different remedies.",
    "role": "What a region may mean for a class: core (what the class is about), allowed, or "
    "forbidden (a decision must not rest on it).",
    "alignment": "How much more of the heat map falls in the region than if the regions of other "
    "pictures took its place, in points of the map's share. 0 is chance.",
    "disparity": "The subgroup in which the region's attention differs most surely from that in "
    "the other subgroups.",
    "channel": "One of the model's inner feature maps, by its number in the explained layer.",
    "iou": "Area shared by the places where the channel fires and the region, divided by the area "
    "of both together: 0 apart, 1 the same.",
    "strength": "Cramer's V without its bias: 0 means independent of the class, 1 that it tells "
    "the class. AUC of a picture's property: 50 % says nothing, 0 % and 100 % tell the class.",
    "bits": "Mutual information: how many bits of the class the factor gives away.",
    "p-table": "Chance of an association at least this strong if there were none, by permuting "
    "independent units, corrected for the whole table (Benjamini and Hochberg).",
    "bits-apart": "In how many of their bits the two pictures' perceptual hashes differ. 0: the "
    "same picture as far as the eye can tell.",
    "yardstick": "What the value must reach (or stay below) to pass, or what chance alone gives.",
    "attention-nominated": "The attention screen found the region out of the ordinary for this "
    "class. That decides nothing.",
    "attention-silent": "The attention screen found nothing. That clears nothing: it is blind to a "
    "region that hardly moves.",
    "attention-untrusted": "The heat maps did not pass their checks on this model.",
    "attention-unmeasurable": "Too few maps, or the region is too small on their grid.",
}

TERMS |= {
    "paired": "Where both runs audited the same independent samples, what the models have in "
    "common on them cancels out, and the interval is narrower. Else the runs count as independent.",
    "trust-study": "There, people saw explanations of two models that gave the same answers, and "
    "said which model seemed more reliable (Selvaraju et al., 2017).",
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

#: How a flag of a kind of test can be wrong.
WRONG = {
    "removal": "the fill itself may look like a cue, or the region may cover more or less than its "
    "name says.",
    "sufficiency": "the outline of what was hidden may still give the class away, or the "
    "annotation may miss a part of it.",
}

#: How what a section flags can be wrong; sections that are not here say so themselves.
SECTION_WRONG = {
    "reliance": "a fill makes an unnatural picture, and the model may react to the fill. The same "
    "act elsewhere guards against this, not perfectly.",
    "attention": "heat maps are coarse and favour the centre. A region can be looked at and not "
    "used, or used and not looked at.",
    "accuracy": "small groups swing by chance (see their intervals), and wrong subgroup labels "
    "hide differences or make them up.",
    "harm": "groups may differ in how hard their pictures are, whatever the model relies on; the "
    "smallest groups are not judged at all.",
    "pictures": "a few pictures, chosen by rule. They show what the numbers mean and prove nothing "
    "by themselves.",
    "data": "only recorded attributes and annotated regions are compared, and what the data gives "
    "away need not be what the model uses.",
    "training": "one training with one seed. Another may end elsewhere.",
}

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


def subgroup(attribute: str, value: str) -> str:
    """A subgroup in words; one of crossed attributes as the values of each.

    >>> subgroup("gender", "woman"), subgroup("gender x skin_tone", "woman x brown")
    ('gender woman', 'gender woman, skin_tone brown')
    """
    attributes, values = attribute.split(CROSS), value.split(CROSS)
    if len(attributes) != len(values):
        return f"{attribute} {value}"
    return ", ".join(f"{name} {level}" for name, level in zip(attributes, values, strict=True))


def pictures(n: int | None, clusters: int | None) -> str:
    r"""A number of pictures, and of independent ones where these are fewer.

    >>> pictures(96, 96), pictures(96, 40), pictures(1, 1)
    ('96 pictures', '96 pictures, 40 independent', '1 picture')
    """
    if not finite(n):
        return "number of pictures unknown"
    counted = f"{number(n)} {'picture' if n == 1 else 'pictures'}"
    return counted if clusters in (n, None) else f"{counted}, {number(clusters)} independent"


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


def confidence(level: float) -> str:
    r"""A level of confidence.

    >>> confidence(0.95), confidence(0.975)
    ('95\u202f%', '97.5\u202f%')
    """
    return f"{100 * level:.4g}{THIN}%"


def interval(low: float | None, high: float | None) -> str:
    r"""An interval of a fraction.

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
