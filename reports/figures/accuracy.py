"""Accuracy per class and subgroup."""

from __future__ import annotations

import plotly.graph_objects as go

from reports import words
from reports.figures import style
from reports.run import Record, Run, by_level


def by_subgroup(run: Run) -> style.Chart | None:
    """Dots with intervals: one row per class, one series per subgroup."""
    attributes = [name for name in run.attributes if len(run.cells("accuracy", name))]
    if not attributes:
        return None
    return style.Chart(
        "accuracy",
        "Accuracy by class and subgroup",
        "Where dots of one class lie apart, the model serves its subgroups unequally. Lines are "
        "95 % intervals; faded dots rest on fewer independent samples than the audit's minimum.",
        {key: _dots(run, name) for key, (name,) in style.combinations(attributes)},
        {"Subgroups by": [words.short(name, 40) for name in attributes]},
    )


def _dots(run: Run, attribute: str) -> go.Figure:
    table = run.cells("accuracy", attribute)
    classes = list(dict.fromkeys(table["target_class"]))
    subgroups = by_level(table["subgroup"])
    traces = []
    for index, name in enumerate(subgroups):
        some = table[table["subgroup"] == name]
        offset = style.dodge(index, len(subgroups))
        trace = style.interval_dots(
            index,
            words.plotly_text(name),
            some["effect"],
            some["low"],
            some["high"],
            [classes.index(label) + offset for label in some["target_class"]],
            [_hover(dict(row)) for _, row in some.iterrows()],
        )
        traces.append(style.faded(trace, run.is_small(some)))
    row = max(style.ROW, 11 * len(subgroups) + 14)
    start = min(0.5, float(table["low"].fillna(0.5).min()) - 0.02)
    return style.figure(
        traces,
        row * len(classes) + 96,
        xaxis=style.percent_axis("correct answers", range=[max(start, 0), 1.01]),
        yaxis=style.rows_axis([words.plotly_text(name) for name in classes]),
        margin={"t": 40},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        shapes=style.row_rules(len(classes)),
    )


def _hover(row: Record) -> str:
    return (
        f"<b>{words.plotly_hover(row['target_class'])}</b><br>"
        f"{words.plotly_hover(row['attribute'])}: {words.plotly_hover(row['subgroup'])}<br>"
        f"accuracy {words.percent(row['effect'])} ({words.interval(row['low'], row['high'])})<br>"
        f"{words.number(row['n'])} samples, {words.number(row['clusters'])} independent"
    )
