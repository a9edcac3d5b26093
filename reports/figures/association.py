"""How strongly attributes and regions go with the class in the data, before any model."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from audit.tables import ALL, ASSOCIATION, empty, read_table
from reports import words
from reports.figures import style
from reports.run import Run

MEASURE = "Cramer's V"


def with_class(run: Run) -> style.Chart | None:
    """Dots with intervals: one row per attribute and region, one series per part of the data."""
    table = _table(run)
    if table.empty:
        return None
    return style.Chart(
        "association",
        "What goes with the class in the data",
        "Cramer's V: 0 means that knowing it says nothing about the class, 1 that it tells the "
        "class. A region counts by whether it is in the picture. Lines are "
        f"{run.confidence} intervals. What is strong in the training data is what a model can "
        "pick up as a shortcut.",
        {"": _dots(table)},
        table=table,
    )


def _table(run: Run) -> pd.DataFrame:
    path = run.folder / f"{ASSOCIATION.name}.parquet"
    rows = read_table(path, ASSOCIATION) if path.is_file() else empty(ASSOCIATION)
    rows = rows[(rows["measure"] == "cramers_v") & (rows["target_class"] == ALL)]
    rows = rows[rows["effect"].notna()].sort_values("effect", ascending=False, kind="stable")
    return pd.DataFrame(
        {
            "data": rows["part"].astype(str),
            "kind": rows["kind"].astype(str),
            "factor": rows["factor"].astype(str),
            MEASURE: rows["effect"],
            f"{MEASURE} low": rows["low"],
            f"{MEASURE} high": rows["high"],
            "adjusted p": rows["p_adjusted"],
            "pictures": rows["n"],
            "independent": rows["clusters"],
        }
    ).reset_index(drop=True)


def _dots(table: pd.DataFrame) -> go.Figure:
    factors = list(dict.fromkeys(zip(table["factor"], table["kind"], strict=True)))
    parts = sorted(set(table["data"]), reverse=True)  # training first
    traces = []
    for index, part in enumerate(parts):
        some = table[table["data"] == part]
        offset = style.dodge(index, len(parts))
        rows = zip(some["factor"], some["kind"], strict=True)
        traces.append(
            style.interval_dots(
                index,
                words.plotly_text(f"{part} data"),
                some[MEASURE],
                some[f"{MEASURE} low"],
                some[f"{MEASURE} high"],
                [factors.index(row) + offset for row in rows],
                some.index.tolist(),
            )
        )
    row = style.series_row(len(parts))
    return style.figure(
        traces,
        row * len(factors) + 96,
        row=row,
        xaxis={"title": {"text": "Cramer's V"}, "zeroline": False, "range": [-0.02, 1.02]},
        yaxis=style.rows_axis([style.row_label(name, kind) for name, kind in factors]),
        margin={"t": 40},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        shapes=style.row_rules(len(factors)),
    )
