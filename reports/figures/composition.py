"""What the data is made of: subgroups within each class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from audit.tables import OK
from reports import words
from reports.figures import style
from reports.figures.table import rounded
from reports.run import Run, by_level, subgroups_of

PARTS = {"train": "training", "validation": "validation", "audit": "audit"}
_ROW = 38  # pixels


def by_class(run: Run) -> style.Chart | None:
    """Stacked bars of subgroup shares per class, for one part of the data and one attribute."""
    usable = run.samples[run.samples["status"] == OK]
    found = set(usable["part"].dropna())
    parts = [part for part in PARTS if part in found]
    if not run.attributes or not parts:
        return None
    table = pd.concat(
        [
            _counts(usable[usable["part"] == part], PARTS[part], attribute)
            for part in parts
            for attribute in run.attributes
        ],
        ignore_index=True,
    )
    return style.Chart(
        "composition",
        "Who is in the data",
        "Uneven bars in the training pictures are what a model can pick up as a shortcut.",
        {
            key: _bars(table[(table["data"] == PARTS[part]) & (table["attribute"] == attribute)])
            for key, (part, attribute) in style.combinations(parts, run.attributes)
        },
        {"Pictures for": [PARTS[part] for part in parts], "Subgroups by": run.attributes},
        table,
    )


def _counts(samples: pd.DataFrame, part: str, attribute: str) -> pd.DataFrame:
    """Pictures of each class and subgroup, and the part of the class that they are."""
    counts = pd.crosstab(samples["label"].astype(str), subgroups_of(samples, attribute))
    labels, subgroups = list(counts.index), list(counts.columns)
    return pd.DataFrame(
        {
            "data": part,
            "class": np.repeat(np.array(labels, object), len(subgroups)),
            "attribute": attribute,
            "subgroup": subgroups * len(labels),
            "pictures": counts.to_numpy().reshape(-1),
            "part": counts.div(counts.sum(axis=1), axis=0).to_numpy().reshape(-1),
        }
    )


def _bars(table: pd.DataFrame) -> go.Figure:
    labels = list(dict.fromkeys(table["class"]))
    traces = []
    for index, name in enumerate(by_level(table["subgroup"])):
        some = table[table["subgroup"] == name]
        traces.append(
            go.Bar(
                name=words.plotly_text(name),
                orientation="h",
                x=rounded(some["part"]),
                y=[labels.index(label) for label in some["class"]],
                marker={
                    "color": style.SERIES[index % len(style.SERIES)],
                    "pattern": {"shape": "" if index < len(style.SERIES) else "/"},
                    "line": {"width": 1.5, "color": style.LIGHT["surface"]},
                },
                text=[words.number(int(n)) for n in some["pictures"]],
                textposition="inside",
                insidetextfont={"color": style.LIGHT["surface"]},
                insidetextanchor="middle",
                textangle=0,
                customdata=some.index.tolist(),
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    return style.figure(
        traces,
        _ROW * len(labels) + 96,
        row=_ROW,
        barmode="stack",
        bargap=0.28,
        xaxis=style.percent_axis("part of the class's pictures", range=[0, 1]),
        yaxis=style.rows_axis([words.plotly_text(name) for name in labels]),
        margin={"t": 40},
        legend={"y": 1.0, "yref": "container", "yanchor": "top", "traceorder": "normal"},
    )
