"""What was found without annotations, as the page tells it: neurons by name, unnamed cues."""

from __future__ import annotations

from typing import Any

import pandas as pd

from audit.checks import explainer_trusted
from audit.tables import ALL, UNNAMED
from reports.pictures import embed_cues
from reports.run import Record, Run

ASSOCIATIONS = 4  # told per cue, the strongest


def neurons(run: Run) -> dict[str, Any] | None:
    """Each class in words: what its most important neurons fire on."""
    if run.neurons.empty:
        return None
    return {
        "untrusted": _untrusted(run),
        "classes": [
            {
                "name": target_class,
                "parts": composition(rows),
                "carried": float(rows["importance"].sum()),
                "n": int(rows["n"].iloc[0]),
                "rows": rows.to_dict("records"),
            }
            for target_class, rows in run.neurons.groupby("target_class", sort=True)
        ],
    }


def composition(neurons: pd.DataFrame) -> list[tuple[str, float]]:
    """Regions with their parts of the positive contribution of a class's top neurons.

    The largest first, "unnamed" last.

    Examples
    --------
    >>> rows = {"importance": [0.3, 0.1, 0.1], "region": ["hair", "unnamed", "hair"]}
    >>> composition(pd.DataFrame(rows))
    [('hair', 0.8), ('unnamed', 0.2)]
    """
    parts = neurons.groupby("region")["importance"].sum() / neurons["importance"].sum()
    found = [(str(name), float(part)) for name, part in parts.items()]
    return sorted(found, key=lambda item: (item[0] == UNNAMED, -item[1], item[0]))


def cues(run: Run) -> dict[str, Any] | None:
    """The unnamed cues with their test, what they overlap, and pictures."""
    if run.cues.empty:
        return None
    shown = embed_cues(run)
    return {
        "untrusted": _untrusted(run),
        "cues": [_cue(run, row, shown) for row in run.cues.to_dict("records")],
    }


def _untrusted(run: Run) -> bool:
    """Whether the heat maps were checked, and not found to follow the model."""
    return not run.scorecard.empty and explainer_trusted(run.scorecard) is not True


def _cue(run: Run, row: dict[Any, Any], shown: list[Record]) -> Record:
    overlap = zip(run.config.regions.names, row["overlap"], strict=True)
    related = run.cue_associations[run.cue_associations["cue"] == row["cue"]]
    strong = related[related["p_adjusted"] < run.config.policy.alpha].sort_values("p_adjusted")
    return row | {
        "overlap": sorted(
            ((name, float(part)) for name, part in overlap if part >= 0.005),
            key=lambda item: -item[1],
        ),
        "associations": [
            one | {"wrong": one["attribute"] == ALL}
            for one in strong.head(ASSOCIATIONS).to_dict("records")
        ],
        "pictures": [one for one in shown if one["cue"] == row["cue"]],
    }
