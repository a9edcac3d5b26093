"""Where the model looks: attention per region, class and subgroup."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from reports import words
from reports.figures import style
from reports.figures.heat_map import heat_map
from reports.figures.table import of_evidence
from reports.run import Run

MEASURES = {"density": "density (× the rest)", "share": "share of the heat map"}
_METHOD = "explain:grad-cam"
_BAND = math.log(8)  # the density scale ends at 8 times, and at an eighth
_SCALES: dict[str, dict[str, Any]] = {
    "density": {
        "colorscale": [
            [0, style.LIGHT["below"]],
            [0.5, style.LIGHT["surface"]],
            [1, style.LIGHT["above"]],
        ],
        "zmin": -_BAND,
        "zmax": _BAND,
    },
    "share": {
        "colorscale": [[0, style.LIGHT["surface"]], [1, style.LIGHT["sequential"]]],
        "zmin": 0,
        "zmax": 1,
    },
}
_SAY: dict[str, Callable[[float], str]] = {
    "density": lambda value: f"{math.exp(value):.2g}×",
    "share": words.percent,
}
_CELL = ["class", "attribute", "subgroup", "region"]


def by_cell(run: Run) -> style.Chart | None:
    """Heat map of class and subgroup x region, for one attribute and measure."""
    attributes = [name for name in run.attributes if len(_cells(run, "share", name))]
    if not attributes:
        return None
    table = _table(run, attributes)
    return style.Chart(
        "attention",
        "Attention by region, class and subgroup",
        "Of heat maps for the true class. Density 1 means that a region gets as much attention as "
        "its size suggests; 2 is twice that of the rest of the picture (orange: more, blue: less). "
        "Grey cells rest on fewer independent samples than the audit's minimum.",
        {
            key: _map(run, table[table["attribute"] == attribute], measure)
            for key, (attribute, measure) in style.combinations(attributes, list(MEASURES))
        },
        {"Subgroups by": attributes, "Show": list(MEASURES.values())},
        table.drop(columns="small"),
    )


def _cells(run: Run, measure: str, attribute: str) -> pd.DataFrame:
    rows = run.cells(measure, attribute)
    return rows[rows["act"] == _METHOD]


def _map(run: Run, table: pd.DataFrame, measure: str) -> go.Figure:
    value = table[measure].map(math.log) if measure == "density" else table[measure]
    return heat_map(table, value, _SAY[measure], _SCALES[measure], run.config.regions.names)


def _table(run: Run, attributes: list[str]) -> pd.DataFrame:
    """Share and density of every cell, in one row."""
    share, log_rho = (
        of_evidence(run, pd.concat([_cells(run, name, one) for one in attributes]), name)
        for name in ("share", "log_rho")
    )
    ends = [f"density{end}" for end in ("", " low", " high")]
    log_rho.columns = log_rho.columns.str.replace("log_rho", "density")
    table = share.join(log_rho.set_index(_CELL)[ends].map(math.exp), on=_CELL)
    area = run.attention.groupby("region", observed=True)["area"].mean().to_dict()
    table["part of the picture"] = [float(area.get(name, math.nan)) for name in table["region"]]
    shares = ["share", "share low", "share high"]
    return table[
        [*_CELL, *shares, *ends, "part of the picture", "pictures", "independent", "small"]
    ]
