"""The explainer scorecard in plain words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from audit.tables import ALL
from reports import words
from reports.run import Record, Run

HEADLINES = {
    True: ("pass", "passed", "The maps follow the model", "Attention in this report may flag."),
    False: (
        "fail",
        "not passed",
        "The maps do not follow the model",
        "Attention in this report may flag nothing; the tests by intervention stand.",
    ),
    None: (
        "inconclusive",
        "undecided",
        "It was not shown that the maps follow the model",
        "Attention in this report may flag nothing; the tests by intervention stand.",
    ),
}

#: Check: its title, and how its numbers can be wrong.
CHECKS = {
    "randomisation": (
        "Do maps follow the weights?",
        "On a coarse grid smooth maps agree by chance, and few random models tell little; both "
        "make passing harder. Maps may follow the weights and still miss what the answer rests on.",
    ),
    "curves": (
        "Do the places that it marks matter for the answer?",
        "Blurred pictures are unnatural, and the model may react to the blur; it leaves colours.",
    ),
    "agreement": (
        "Does it agree with hiding places one by one?",
        "A grey patch is unnatural too, and sees one place at a time: two that back each other up "
        "both seem not to matter.",
    ),
    "pointing": (
        "Does it point at what the class is about?",
        "A model that relies on something else is explained well by a map that points there: a low "
        "rate may be the model's fault.",
    ),
    "localisation": (
        "Does it outline what the class is about?",
        "As for pointing; and a model may need only a part of the core, or core may be in pieces.",
    ),
    "robustness": (
        "Does it stay where it lay when an adversary turns the answer?",
        "Only answers that the adversary turned count; a model that is moved inside has maps that "
        "move with it.",
    ),
}


def scorecard(run: Run) -> dict[str, Any] | None:
    """Whether maps are to be trusted, with every number; none where nothing was checked."""
    rows: list[Record] = [dict(row) for _, row in run.scorecard.iterrows()]
    if not rows:
        return None
    tone, result, headline, consequence = HEADLINES[_all_passed(rows)]
    end = [row for row in rows if row["gates"] and row["statistic"] == "rank correlation"]
    return {
        "tone": tone,
        "result": result,
        "headline": headline,
        "consequence": consequence,
        "end": end[0] if end and words.finite(end[0]["effect"]) else None,
        "groups": [
            {
                "title": title,
                "wrong": wrong,
                "rows": [row | _shown(row) for row in rows if row["check"] == check],
            }
            for check, (title, wrong) in CHECKS.items()
        ],
    }


def _all_passed(rows: list[Record]) -> bool | None:
    """Whether the gates passed; None where one could not be decided and none failed."""
    passed = [_passed(row) for row in rows if row["gates"]]
    if False in passed:
        return False
    return None if None in passed or not passed else True


def _passed(row: Record) -> bool | None:
    return None if pd.isna(row["passed"]) else bool(row["passed"])


def _shown(row: Record) -> Record:
    """What a row is about, and its result in a word."""
    parts = [row["statistic"], row["stage"], row["region"]]
    gate = {True: "passed", False: "not passed", None: "undecided"}[_passed(row)]
    return {
        "about": ", ".join(str(part) for part in parts if part != ALL) or "everything",
        "result": gate if row["gates"] else "for information",
    }
