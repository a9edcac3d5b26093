"""How single samples spread around the means: quantiles per class, subgroup and region.

Quantiles alone are drawn and embedded, so that a chart is as light for a million samples as for a
hundred.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from audit.tables import attribute_column
from reports import words
from reports.figures import style
from reports.run import Run, by_level, subgroups_of

LEVELS = {"5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95}
_CELL = ["class", "attribute", "subgroup", "region", "altered"]


def of_shares(run: Run) -> style.Chart | None:
    """Attention shares of maps for the true class, per region, class and subgroup."""
    attention = run.attention
    rows = attention[attention["measurable"] & attention["share"].notna()]
    values = _described(run, rows).rename(columns={"label": "class", "share": "value"})
    return _chart(
        run,
        values.assign(altered="", weight=1.0),
        "share",
        "How attention varies from sample to sample",
        "Share of the heat map for the true class that falls in the region. ",
        {"tickformat": ".0%", "title": {"text": "share of the heat map"}},
    )


def of_margin_drops(run: Run) -> style.Chart | None:
    """What altering a region takes from the margin, beyond the placebo, sample by sample."""
    spread = run.audited["margin"].astype(np.float64).std()
    if not spread > 0:
        return None
    rows = _described(run, _pairs(run)).rename(columns={"prediction_before": "class"})
    return _chart(
        run,
        rows.assign(
            value=rows["drop"] / spread,
            altered=[
                words.act("swap" if test == "swap" else f"remove:{fill}")
                for test, fill in zip(rows["test"], rows["fill"], strict=True)
            ],
            weight=rows["stands_for"],
        ),
        "margin drop",
        "How the effect varies from sample to sample",
        "Margin drop: how much the lead of the predicted class shrinks, beyond the same act "
        "elsewhere, in standard deviations of that lead. ",
        {"title": {"text": "margin drop (standard deviations)"}},
    )


def _pairs(run: Run) -> pd.DataFrame:
    """Margin after the placebo less that after the act, of samples that have both."""
    rows = run.interventions[run.interventions["test"].isin(["removal", "swap"])]
    key = ["sample_id", "region", "test", "fill"]
    act, placebo = (rows[rows["arm"] == arm] for arm in ("act", "placebo"))
    pairs = act.merge(placebo[[*key, "margin_after"]], on=key, suffixes=("", "_placebo"))
    drop = pairs["margin_after_placebo"].astype(np.float64) - pairs["margin_after"]
    return pairs.assign(drop=drop)[drop.notna()]


def _described(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the label, cluster and subgroups of their sample; of audited samples only."""
    columns = ["sample_id", "label", "cluster_id", "stands_for"]
    columns += [attribute_column(name) for name in run.attributes]
    found = rows.merge(run.audited[columns], on="sample_id")
    texts = found.select_dtypes("category").columns
    return found.astype(dict.fromkeys(texts, object))


def _chart(
    run: Run,
    values: pd.DataFrame,
    measure: str,
    title: str,
    caption: str,
    axis: dict[str, object],
) -> style.Chart | None:
    if values.empty or not run.attributes:
        return None
    values["class"] = values["class"].astype(str)
    cells = []
    for attribute in run.attributes:
        subgroup = subgroups_of(values, attribute)
        cells.append(quantiles(values.assign(attribute=attribute, subgroup=subgroup), _CELL))
    table = pd.concat(cells, ignore_index=True)
    table = table.rename(columns={level: f"{measure} {level}" for level in LEVELS})
    acts = [act for act in dict.fromkeys(table["altered"]) if act]
    figures = {}
    for key, picked in style.combinations(run.attributes, *([acts] if acts else [])):
        some = table[table["attribute"] == picked[0]]
        some = some[some["altered"] == picked[1]] if acts else some
        if len(some):
            figures[key] = _strips(run, some, measure, axis)
    return style.Chart(
        f"{measure.replace(' ', '-')}-spread",
        title,
        f"{caption}Thin lines hold the middle 90 % of the independent samples, thick ones the "
        "middle half, dots are medians; faded: fewer independent samples than the audit's minimum.",
        figures,
        {"Subgroups by": run.attributes} | ({"Pictures": acts} if acts else {}),
        table if acts else table.drop(columns="altered"),
    )


def quantiles(values: pd.DataFrame, cell: list[str]) -> pd.DataFrame:
    """Quantiles of a value over the independent samples of every cell.

    A cluster's value is the mean of its pictures, and it counts for as many clusters as it stands
    for; a quantile is the smallest value that at least this part of them does not exceed.

    Parameters
    ----------
    values
        ``value``, ``weight`` (the same within a cluster), ``cluster_id`` and the columns of the
        cell, a row for each picture.
    cell
        Columns that tell cells apart.

    Returns
    -------
    DataFrame
        A row for each cell, sorted: its columns, a column for each of ``LEVELS``, ``pictures`` and
        ``independent``.
    """
    counted = values[values["weight"] > 0]
    clusters = (
        counted.groupby([*cell, "cluster_id"], observed=True)
        .agg(value=("value", "mean"), weight=("weight", "first"), pictures=("value", "size"))
        .sort_values([*cell, "value"])
    )
    cells = clusters.groupby(level=cell)
    reached = cells["weight"].cumsum() / cells["weight"].transform("sum")
    columns = {
        name: clusters[reached >= level - 1e-9].groupby(level=cell)["value"].first()
        for name, level in LEVELS.items()
    }
    columns["pictures"], columns["independent"] = cells["pictures"].sum(), cells.size()
    return pd.DataFrame(columns).reset_index()


def _strips(run: Run, table: pd.DataFrame, measure: str, axis: dict[str, object]) -> go.Figure:
    at_level = {level: table[f"{measure} {level}"] for level in LEVELS}
    regions = [name for name in run.config.regions.names if name in set(table["region"])]
    pairs = set(zip(table["region"], table["class"], strict=True))
    targets = [
        (region, label)
        for region in regions
        for label in dict.fromkeys(table["class"])
        if (region, label) in pairs
    ]
    position = {target: i for i, target in enumerate(targets)}
    subgroups = by_level(table["subgroup"])
    traces = []
    for index, name in enumerate(subgroups):
        some = table[table["subgroup"] == name]
        place = [position[pair] for pair in zip(some["region"], some["class"], strict=True)]
        y = [at + style.dodge(index, len(subgroups)) for at in place]
        for low, high, width in (("5 %", "95 %", 1.5), ("25 %", "75 %", 6)):
            middle, below, above = (at_level[level][some.index] for level in ("median", low, high))
            strip = style.interval_dots(
                index, words.plotly_text(name), middle, below, above, y, some.index.tolist()
            )
            strip.update(legendgroup=str(index), showlegend=width > 2, error_x={"thickness": width})
            small = some["independent"] < run.config.policy.min_clusters
            traces.append(style.faded(strip, small))
    row = style.series_row(len(subgroups))
    start, end = float(at_level["5 %"].min()), float(at_level["95 %"].max())
    reach = 0.04 * (end - start) or 0.1
    return style.figure(
        traces,
        row * len(targets) + 96,
        row=row,
        xaxis={**axis, "zeroline": False, "range": [start - reach, end + reach]},
        yaxis=style.rows_axis([style.row_label(*target) for target in targets]),
        margin={"t": 40},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        shapes=style.row_rules(len(targets)),
    )
