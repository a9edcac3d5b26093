"""Where the model looks: attention per region, class and subgroup."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reports import words
from reports.figures import style
from reports.run import Record, Run, by_level

MEASURES = {"log_rho": "density (× the rest)", "share": "share of the heat map"}
_METHOD = "explain:grad-cam"
_BAND = math.log(8)  # the density scale ends at 8 times, and at an eighth
_SCALES: dict[str, dict[str, Any]] = {
    "log_rho": {
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
_GREY = {"colorscale": [[0, style.LIGHT["sunken"]], [1, style.LIGHT["sunken"]]]}
_FORMATS: dict[str, Callable[[float], str]] = {
    "log_rho": lambda value: f"{math.exp(value):.2g}×",
    "share": words.percent,
}


def by_cell(run: Run) -> style.Chart | None:
    """Heat map of class and subgroup x region, for one attribute and measure."""
    attributes = [name for name in run.attributes if len(_cells(run, name, "share"))]
    if not attributes:
        return None
    area = run.attention.groupby("region", observed=True)["area"].mean()
    return style.Chart(
        "attention",
        "Attention by region, class and subgroup",
        "Of heat maps for the true class. Density 1 means that a region gets as much attention as "
        "its size suggests; 2 is twice that of the rest of the picture (orange: more, blue: less). "
        "Grey cells rest on fewer independent samples than the audit's minimum.",
        {
            key: _heat_map(run, _cells(run, attribute, measure), measure, area.to_dict())
            for key, (attribute, measure) in style.combinations(attributes, list(MEASURES))
        },
        {
            "Subgroups by": [words.short(name, 40) for name in attributes],
            "Show": list(MEASURES.values()),
        },
    )


def _cells(run: Run, attribute: str, measure: str) -> pd.DataFrame:
    rows = run.cells(measure, attribute)
    return rows[rows["act"] == _METHOD]


def _heat_map(run: Run, table: pd.DataFrame, measure: str, area: dict[Any, float]) -> go.Figure:
    cells: dict[tuple[str, str, str], Record] = {
        (row["region"], row["target_class"], row["subgroup"]): dict(row)
        for _, row in table.iterrows()
    }
    regions = [name for name in run.config.regions.names if name in set(table["region"])]
    subgroups = by_level(table["subgroup"])
    filled = {key[1:] for key in cells}
    rows = [
        (label, subgroup)
        for label in dict.fromkeys(table["target_class"])
        for subgroup in subgroups
        if (label, subgroup) in filled
    ]
    grid = [[cells.get((region, *row)) for region in regions] for row in rows]
    least = run.config.policy.min_clusters
    value = np.array([[cell["effect"] if cell else np.nan for cell in line] for line in grid])
    clusters = np.array([[cell["clusters"] if cell else least for cell in line] for line in grid])
    small = clusters < least
    text = np.array(
        [[_FORMATS[measure](cell["effect"]) if cell else "" for cell in line] for line in grid]
    )
    hover = [[_hover(cell, measure, area) if cell else "" for cell in line] for line in grid]
    traces = [
        go.Heatmap(
            x=list(range(len(regions))),
            y=list(range(len(rows))),
            z=np.where(drawn, shown, np.nan),
            text=np.where(drawn, text, ""),
            texttemplate="%{text}",
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            showscale=False,
            xgap=2,
            ygap=2,
            **scale,
        )
        for drawn, shown, scale in (
            (~small, value, _SCALES[measure]),
            (small, np.zeros(small.shape), _GREY),
        )
    ]
    return style.figure(
        traces,
        style.ROW * len(rows) + 60,
        xaxis={
            "tickvals": list(range(len(regions))),
            "ticktext": [words.plotly_text(name, 16) for name in regions],
            "side": "top",
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
        },
        yaxis=style.rows_axis([style.row_label(*row) for row in rows]),
        margin={"t": 40, "b": 16},
    )


def _hover(cell: Record, measure: str, area: dict[Any, float]) -> str:
    say = _FORMATS[measure]
    known = words.finite(cell["low"]) and words.finite(cell["high"])
    interval = f"{say(cell['low'])} to {say(cell['high'])}" if known else "no interval"
    lines = [
        f"<b>{words.plotly_hover(cell['region'])}</b>",
        f"{words.plotly_hover(cell['target_class'])} · {words.plotly_hover(cell['subgroup'])}",
        f"{'density' if measure == 'log_rho' else 'share'} {say(cell['effect'])} ({interval})",
        f"covers {words.percent(area.get(cell['region']))} of the picture on average",
        f"{words.number(cell['n'])} maps, {words.number(cell['clusters'])} independent",
    ]
    return "<br>".join(lines)
