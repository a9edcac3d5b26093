"""The look shared by the page and its figures, and what a chart is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from reports import words
from reports.figures.table import rounded

# Name: (light, dark). The page takes both from here; figures are drawn in the light colours and
# recoloured by the page in dark mode. Text colours reach a contrast of 4.5 on paper and surface.
PALETTE = {
    "paper": ("#f7f6f3", "#121418"),
    "surface": ("#fffffe", "#1b1e24"),
    "sunken": ("#eeece7", "#262a32"),
    "line": ("#dddad3", "#343a44"),
    "ink": ("#1b1f24", "#eceae6"),
    "muted": ("#5a616b", "#a7aeb9"),
    "accent": ("#1a5fa6", "#82b8f2"),
    "fail": ("#ad3b06", "#ff9d68"),
    "pass": ("#00694c", "#52cfa6"),
    "inconclusive": ("#7d5200", "#ecbb52"),
    "error": ("#77348e", "#d6a3ec"),
    "waived": ("#4d5560", "#b3bac5"),
    "sequential": ("#0b5394", "#1f6fc0"),
    "below": ("#2c6fb3", "#2c6fb4"),
    "above": ("#b85410", "#b05510"),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}

# Okabe and Ito's colours, told apart with any kind of colour vision; the symbols repeat the cue.
_SERIES = {
    "#0072b2": "#4aa6e8",
    "#d55e00": "#ff8a4a",
    "#009e73": "#2fc79b",
    "#cc79a7": "#e39bc4",
    "#e69f00": "#f0b63c",
    "#56b4e9": "#8fd0f7",
    "#8a7a00": "#c4b43a",
    "#888888": "#a0a0a0",
}
SERIES = tuple(_SERIES)
DARK = dict(PALETTE.values()) | _SERIES  # a figure's colour: its counterpart in dark mode
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star", "pentagon")

ROW = 34  # pixels per row of a chart
AXIS: dict[str, Any] = {
    "gridcolor": LIGHT["line"],
    "automargin": True,
    "fixedrange": True,
    "title": {"font": {"size": 13, "color": LIGHT["muted"]}, "standoff": 10},
}


@dataclass(frozen=True)
class Chart:
    """A figure for every combination of choices, e.g. attribute x measure.

    ``choices`` maps the label of a selector to its options; ``figures`` maps the chosen option
    numbers, joined by ``-`` (``""`` without a selector), to a figure. The ``customdata`` of the
    figures are row numbers of ``table``, where there is one.
    """

    id: str
    title: str
    caption: str
    figures: dict[str, go.Figure]
    choices: dict[str, list[str]] = field(default_factory=dict)
    table: pd.DataFrame | None = None


def combinations(*options: Sequence[Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every combination of options with its key in :class:`Chart`.

    >>> list(combinations("ab", "x"))
    [('0-0', ('a', 'x')), ('1-0', ('b', 'x'))]
    """
    chosen: list[tuple[list[str], tuple[Any, ...]]] = [([], ())]
    for some in options:
        chosen = [
            ([*keys, str(i)], (*picked, option))
            for keys, picked in chosen
            for i, option in enumerate(some)
        ]
    for keys, picked in chosen:
        yield "-".join(keys), picked


def series(index: int) -> dict[str, Any]:
    """Marker of the ``index``-th series."""
    symbol = SYMBOLS[(index + index // len(SERIES)) % len(SYMBOLS)]
    return {"color": SERIES[index % len(SERIES)], "symbol": symbol, "size": 10}


def dodge(index: int, count: int) -> float:
    """Vertical offset of a series within a row, rows being 1 apart.

    >>> [dodge(i, 3) for i in range(3)]
    [-0.25, 0.0, 0.25]
    """
    return 0.0 if count == 1 else 0.5 * (index / (count - 1) - 0.5)


def series_row(count: int) -> float:
    """Height of a row that holds a dot of each of ``count`` series."""
    return max(ROW, 11 * count + 14)


def row_label(first: str, second: str) -> str:
    """Label of a row of two names, on two lines where one would be long."""
    one, two = (words.plotly_text(name, 20) for name in (first, second))
    return f"{one}{' · ' if len(first) + len(second) < 20 else '<br>'}{two}"


def rows_axis(labels: Sequence[str]) -> dict[str, Any]:
    """A vertical axis with one labelled row per entry, the first on top."""
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "range": [len(labels) - 0.5, -0.5],
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
    }


def row_rules(count: int) -> list[dict[str, Any]]:
    """Thin lines between rows."""
    return [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": edge - 0.5, "y1": edge - 0.5,
         "line": {"color": LIGHT["line"], "width": 1}}
        for edge in range(1, count)
    ]  # fmt: skip


def upright(x: float, colour: str, **line: Any) -> dict[str, Any]:
    """A vertical line over the whole height."""
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x,
            "line": {"color": colour, **line}}  # fmt: skip


def percent_axis(title: str, **more: Any) -> dict[str, Any]:
    """A horizontal axis of fractions, labelled in per cent."""
    return {"title": {"text": title}, "tickformat": ".0%", "zeroline": False, **more}


def figure(
    traces: Sequence[Any], height: float, *, row: float | None = None, **layout: Any
) -> go.Figure:
    """A figure in the report's style; ``row``: height of a row, where rows can be left out."""
    base = go.Layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 8, "r": 28, "t": 8, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": LIGHT["ink"], "size": 13},
        hoverlabel={"bgcolor": LIGHT["surface"], "font": {"color": LIGHT["ink"], "size": 13},
                    "bordercolor": LIGHT["line"], "align": "left"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left",
                "yref": "paper"},
        xaxis=AXIS,
        yaxis=AXIS,
        dragmode=False,
        showlegend=True,  # a single series, too, has to be named
        meta={"row": row} if row else None,
    )  # fmt: skip
    return go.Figure(data=list(traces), layout=base).update_layout(**layout)


def faded(trace: go.Scatter, small: Iterable[bool]) -> go.Scatter:
    """The same dots, those on too few independent samples faded."""
    return trace.update(marker={"opacity": [0.35 if is_small else 1.0 for is_small in small]})


def interval_dots(
    index: int, name: str, x: Any, low: Any, high: Any, y: Any, hover: Sequence[str | int]
) -> go.Scatter:
    """Dots with horizontal intervals: one series of a forest plot.

    ``hover`` are texts, or row numbers of the chart's table.
    """
    marker = series(index)
    return go.Scatter(
        name=name,
        x=rounded(x),
        y=rounded(y),
        mode="markers",
        marker=marker,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rounded(high - x),
            "arrayminus": rounded(x - low),
            "thickness": 2,
            "width": 0,
            "color": marker["color"],
        },
        customdata=list(hover),
        hovertemplate="%{customdata}<extra></extra>",
    )
