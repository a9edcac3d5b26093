"""What the data is made of: subgroups within each class."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from audit.tables import OK, UNKNOWN, attribute_column
from reports import words
from reports.figures import style
from reports.run import Run, by_level

PARTS = {"train": "training", "validation": "validation", "audit": "audit"}


def by_class(run: Run) -> style.Chart | None:
    """Stacked bars of subgroup shares per class, for one part of the data and one attribute."""
    usable = run.samples[run.samples["status"] == OK]
    found = set(usable["part"].dropna())
    parts = [part for part in PARTS if part in found]
    if not run.attributes or not parts:
        return None
    return style.Chart(
        "composition",
        "Who is in the data",
        "Uneven bars in the training pictures are what a model can pick up as a shortcut.",
        {
            key: _bars(usable[usable["part"] == part], attribute)
            for key, (part, attribute) in style.combinations(parts, run.attributes)
        },
        {"Pictures for": [PARTS[part] for part in parts],
         "Subgroups by": [words.short(name, 40) for name in run.attributes]},
    )  # fmt: skip


def _bars(samples: pd.DataFrame, attribute: str) -> go.Figure:
    subgroup = samples[attribute_column(attribute)].astype(object).fillna(UNKNOWN).astype(str)
    counts = pd.crosstab(samples["label"].astype(str), subgroup)
    total = counts.sum(axis=1)
    order = by_level(counts.columns)
    traces = [
        go.Bar(
            name=words.plotly_text(name),
            orientation="h",
            x=counts[name] / total,
            y=list(range(len(counts))),
            marker={
                "color": style.SERIES[index % len(style.SERIES)],
                "pattern": {"shape": "" if index < len(style.SERIES) else "/"},
                "line": {"width": 1.5, "color": style.LIGHT["surface"]},
            },
            text=[f"{words.number(int(n))}" for n in counts[name]],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            customdata=[
                f"<b>{words.plotly_hover(label)}</b><br>{words.plotly_hover(attribute)}: "
                f"{words.plotly_hover(name)}<br>{words.number(int(n))} of "
                f"{words.number(int(all_of_it))} pictures ({words.percent(n / all_of_it)})"
                for label, n, all_of_it in zip(counts.index, counts[name], total, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        for index, name in enumerate(order)
    ]
    return style.figure(
        traces,
        38 * len(counts) + 96,
        barmode="stack",
        bargap=0.28,
        xaxis=style.percent_axis("part of the class's pictures", range=[0, 1]),
        yaxis=style.rows_axis([words.plotly_text(name) for name in counts.index]),
        margin={"t": 40},
        legend={"y": 1.0, "yref": "container", "yanchor": "top", "traceorder": "normal"},
    )
