"""Heat map of class and subgroup x region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reports import words
from reports.figures import style
from reports.figures.table import rounded
from reports.run import by_level

_GREY = {"colorscale": [[0, style.LIGHT["sunken"]], [1, style.LIGHT["sunken"]]]}


def heat_map(
    table: pd.DataFrame,
    value: pd.Series[float],
    say: Callable[[float], str],
    scale: dict[str, Any],
    regions: list[str],
) -> go.Figure:
    """One attribute's cells, coloured by ``value``; grey where too few are independent.

    Parameters
    ----------
    table
        Rows of the chart's table (class, subgroup, region, small), at most one for each cell.
    value
        What is coloured, row by row.
    say
        The value of a cell in words.
    scale
        ``colorscale``, ``zmin`` and ``zmax``.
    regions
        Regions in the order of the columns; those without a cell are left out.
    """
    found = set(table["region"])
    columns = [name for name in regions if name in found]
    order = by_level(table["subgroup"])
    pairs = set(zip(table["class"], table["subgroup"], strict=True))
    rows = [
        (label, subgroup)
        for label in dict.fromkeys(table["class"])
        for subgroup in order
        if (label, subgroup) in pairs
    ]
    at = {row: i for i, row in enumerate(rows)}
    y = [at[pair] for pair in zip(table["class"], table["subgroup"], strict=True)]
    x = [columns.index(name) for name in table["region"]]
    shape = (len(rows), len(columns))
    number, small = np.full(shape, np.nan), np.zeros(shape, bool)
    row_number = np.full(shape, np.nan)
    number[y, x], small[y, x], row_number[y, x] = value, table["small"], table.index
    traces = []
    for drawn, colours in ((~small, scale), (small, _GREY)):
        there = drawn & ~np.isnan(number)
        if there.any():
            shown = np.where(there, 0 if colours is _GREY else number, np.nan)
            text = [
                [say(cell) if known else "" for cell, known in zip(*line, strict=True)]
                for line in zip(number, there, strict=True)
            ]
            traces.append(
                go.Heatmap(
                    x=list(range(len(columns))),
                    y=list(range(len(rows))),
                    z=[rounded(line) for line in shown],
                    text=text,
                    texttemplate="%{text}",
                    customdata=[
                        [int(cell) if known else None for cell, known in zip(*line, strict=True)]
                        for line in zip(row_number, there, strict=True)
                    ],
                    hovertemplate="%{customdata}<extra></extra>",
                    hoverongaps=False,
                    showscale=False,
                    xgap=2,
                    ygap=2,
                    **colours,
                )
            )
    return style.figure(
        traces,
        style.ROW * len(rows) + 60,
        row=style.ROW,
        xaxis={
            "tickvals": list(range(len(columns))),
            "ticktext": [words.plotly_text(name, 16) for name in columns],
            "side": "top",
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
        },
        yaxis=style.rows_axis([style.row_label(*row) for row in rows]),
        margin={"t": 40, "b": 16},
    )
