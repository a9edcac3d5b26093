"""Accuracy per class and subgroup."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reports import words
from reports.figures import style
from reports.figures.table import of_evidence
from reports.run import Run, by_level


def by_subgroup(run: Run) -> style.Chart | None:
    """Dots with intervals: one row per class, one series per subgroup."""
    attributes = [name for name in run.attributes if len(run.cells("accuracy", name))]
    if not attributes:
        return None
    cells = pd.concat([run.cells("accuracy", name) for name in attributes])
    table = of_evidence(run, cells, "accuracy")
    return style.Chart(
        "accuracy",
        "Accuracy by class and subgroup",
        "Where dots of one class lie apart, the model serves its subgroups unequally. Lines are "
        f"{run.confidence} intervals (Wilson); faded dots rest on fewer independent samples than "
        "the audit's minimum.",
        {
            key: _dots(table[table["attribute"] == name])
            for key, (name,) in style.combinations(attributes)
        },
        {"Subgroups by": attributes},
        table.drop(columns=["region", "altered", "adjusted p", "left out", "small"]),
    )


def _dots(table: pd.DataFrame) -> go.Figure:
    classes = list(dict.fromkeys(table["class"]))
    subgroups = by_level(table["subgroup"])
    traces = []
    for index, name in enumerate(subgroups):
        some = table[table["subgroup"] == name]
        offset = style.dodge(index, len(subgroups))
        trace = style.interval_dots(
            index,
            words.plotly_text(name),
            some["accuracy"],
            some["accuracy low"],
            some["accuracy high"],
            [classes.index(label) + offset for label in some["class"]],
            some.index.tolist(),
        )
        traces.append(style.faded(trace, some["small"]))
    row = style.series_row(len(subgroups))
    start = min(0.5, float(table["accuracy low"].fillna(0.5).min()) - 0.02)
    return style.figure(
        traces,
        row * len(classes) + 96,
        row=row,
        xaxis=style.percent_axis("correct answers", range=[max(start, 0), 1.01]),
        yaxis=style.rows_axis([words.plotly_text(name) for name in classes]),
        margin={"t": 40},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        shapes=style.row_rules(len(classes)),
    )
