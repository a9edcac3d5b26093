"""Intervention effects: forest plots with the limits that decide, and a heat map."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from audit.tables import ALL
from reports import words
from reports.figures import style
from reports.figures.heat_map import heat_map
from reports.figures.table import of_evidence
from reports.run import Run

TESTS = {
    "excess_flips": ("region hidden or swapped", "changed answers, excess"),
    "sufficiency_kappa": ("region seen alone", "answers kept, beyond chance"),
}  # fmt: skip
#: Measure of a finding's test.
MEASURES = {"removal": "excess_flips", "sufficiency": "sufficiency_kappa"}
LOOKS = ("dots with intervals", "heat map")


def by_act(run: Run) -> style.Chart | None:
    """Effect of every act on every tested region x class, over all samples."""
    rows = _tested(run)
    rows = rows[rows["attribute"] == ALL]
    measures = [measure for measure in TESTS if (rows["measure"] == measure).any()]
    if not measures:
        return None
    table = _table(run, rows)
    return style.Chart(
        "effects",
        "What happens when the model cannot use a region",
        "Part of the answers that change when the region is altered, less those that change when "
        f"an equal area elsewhere is. Dots: ways of altering; lines: {run.confidence} intervals. "
        "Wholly right of the fail limit, reliance is shown, however small; else, left of the pass "
        "limit, it is ruled out.",
        {
            key: _forest(run, table[table["measure"] == measure], measure, "altered")
            for key, (measure,) in style.combinations(measures)
        },
        {"Test": [TESTS[measure][0] for measure in measures]},
        table.drop(columns=["attribute", "subgroup", "measure", "small"]),
    )


def by_subgroup(run: Run) -> style.Chart | None:
    """The same per subgroup, for one act at a time, as dots with intervals or as a heat map."""
    rows = _tested(run)
    rows = rows[(rows["attribute"] != ALL) & (rows["subgroup"] != ALL)]
    if rows.empty:
        return None
    table = _table(run, rows)
    attributes = list(rows["attribute"].unique())
    acts = list(table["altered"].unique())
    figures = {}
    for key, (attribute, act, look) in style.combinations(attributes, acts, LOOKS):
        some = table[(table["attribute"] == attribute) & (table["altered"] == act)]
        if len(some):
            measure = some["measure"].iloc[0]
            dots = look == LOOKS[0]
            figures[key] = (
                _forest(run, some, measure, "subgroup") if dots else _heat_map(run, some, measure)
            )
    return style.Chart(
        "effects-by-subgroup",
        "Who it affects most",
        "The same effect, split by subgroup. Faded dots and grey cells rest on fewer independent "
        "samples than the audit's minimum.",
        figures,
        {"Subgroups by": attributes, "Pictures": acts, "Show": list(LOOKS)},
        table.drop(columns=["measure", "adjusted p", "small"]),
    )


def _tested(run: Run) -> pd.DataFrame:
    rows = run.evidence
    return rows[rows["measure"].isin(list(TESTS)) & rows["effect"].notna()]


def _table(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    return of_evidence(run, rows, "effect").assign(measure=rows["measure"].to_numpy(object))


def _heat_map(run: Run, table: pd.DataFrame, measure: str) -> go.Figure:
    """White is no effect; the colour is full at three times the limit that decides."""
    reach = 3 * limits(run, measure)[1]
    colours = [(0, "below"), (0.5, "surface"), (1, "above")]
    scale = {
        "colorscale": [[at, style.LIGHT[name]] for at, name in colours],
        "zmin": -reach,
        "zmax": reach,
    }
    return heat_map(table, table["effect"], words.percent, scale, run.config.regions.names)


def _forest(run: Run, table: pd.DataFrame, measure: str, split: str) -> go.Figure:
    targets = list(dict.fromkeys(zip(table["region"], table["class"], strict=True)))
    position = {target: i for i, target in enumerate(targets)}
    names = list(dict.fromkeys(table[split]))
    traces = []
    for index, name in enumerate(names):
        some = table[table[split] == name]
        place = [position[pair] for pair in zip(some["region"], some["class"], strict=True)]
        y = [at + style.dodge(index, len(names)) for at in place]
        trace = style.interval_dots(
            index, words.plotly_text(name, 32), some["effect"], some["effect low"],
            some["effect high"], y, some.index.tolist(),
        )  # fmt: skip
        traces.append(style.faded(trace, some["small"]))
    fail, passed = limits(run, measure)
    row = style.series_row(len(names))
    labels = [style.row_label(region, label) for region, label in targets]
    edges = pd.concat([table[name] for name in ("effect low", "effect high", "effect")]).dropna()
    low, high = min(edges.min(), -0.03), max(edges.max(), passed + 0.05)
    marks = (
        (fail, "fail limit", style.LIGHT["fail"], "right"),
        (passed, "pass limit", style.LIGHT["pass"], "left"),
    )
    return style.figure(
        traces,
        row * len(targets) + 126,
        row=row,
        xaxis=style.percent_axis(TESTS[measure][1], range=[low - 0.02, high + 0.02]),
        yaxis=style.rows_axis(labels),
        margin={"t": 62},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        shapes=[
            *style.row_rules(len(targets)),
            style.upright(0, style.LIGHT["muted"], width=1),
            *(style.upright(at, colour, width=1.5, dash="dash") for at, _, colour, _ in marks),
        ],
        annotations=[
            {"x": value, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": anchor,
             "showarrow": False, "text": f"{name} {words.percent(value)}",
             "font": {"color": colour, "size": 12}}
            for value, name, colour, anchor in marks
        ],
    )  # fmt: skip


def limits(run: Run, measure: str) -> tuple[float, float]:
    """Fail and pass limit of a measure, as fractions."""
    policy = run.config.policy
    if measure in ("sufficiency_kappa", "sufficiency"):
        return policy.sufficiency_fail, policy.sufficiency_pass
    return policy.fail_effect, policy.pass_effect
