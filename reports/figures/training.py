"""How training went, where the run trained the model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from reports import words
from reports.figures import style
from reports.run import Run

CURVES = {
    "train_accuracy": "accuracy, training",
    "validation_accuracy": "accuracy, validation",
    "train_loss": "loss, training",
    "validation_loss": "loss, validation",
}


def curve(run: Run) -> style.Chart | None:
    """Accuracy and loss per epoch."""
    history = [row for row in run.model_card.get("history") or [] if isinstance(row, dict)]
    traces: list[Any] = []
    rows: list[dict[str, Any]] = []
    for index, (key, name) in enumerate(CURVES.items()):
        points = [(row.get("epoch", i + 1), row.get(key)) for i, row in enumerate(history)]
        points = [(epoch, value) for epoch, value in points if words.finite(value)]
        if points:
            loss = key.endswith("loss")
            traces.append(
                go.Scatter(
                    name=name,
                    x=[epoch for epoch, _ in points],
                    y=[value for _, value in points],
                    yaxis="y2" if loss else "y",
                    mode="lines+markers",
                    line={"width": 2, "dash": "dot" if loss else "solid"},
                    marker=series_marker(index),
                    customdata=list(range(len(rows), len(rows) + len(points))),
                    hovertemplate="%{customdata}<extra></extra>",
                )
            )
            rows += [{"curve": name, "epoch": epoch, "value": value} for epoch, value in points]
    if not traces:
        return None
    chart = style.figure(
        traces,
        320,
        xaxis={"title": {"text": "epoch"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "accuracy"}, "tickformat": ".0%", "range": [0, 1.02]},
        yaxis2={**style.AXIS, "title": {**style.AXIS["title"], "text": "loss"}, "overlaying": "y",
                "side": "right", "showgrid": False, "rangemode": "tozero"},
        margin={"t": 44, "r": 8},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
    )  # fmt: skip
    return style.Chart(
        "training", "Training curve", "High accuracy here says nothing about why.", {"": chart},
        table=pd.DataFrame(rows),
    )  # fmt: skip


def series_marker(index: int) -> dict[str, Any]:
    """A small marker of the ``index``-th curve."""
    return {**style.series(index), "size": 6}
