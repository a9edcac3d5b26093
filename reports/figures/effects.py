"""Forest plots of intervention effects, with the limits that decide drawn in."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from audit.tables import ALL
from reports import words
from reports.figures import style
from reports.run import Run

TESTS = {
    "excess_flips": ("region hidden or swapped", "changed answers, excess"),
    "sufficiency_excess": ("region seen alone", "answers kept, beyond chance"),
}  # fmt: skip


def by_act(run: Run) -> style.Chart | None:
    """Effect of every act on every tested region x class, over all samples."""
    rows = _tested(run)
    rows = rows[rows["attribute"] == ALL]
    measures = [measure for measure in TESTS if (rows["measure"] == measure).any()]
    if not measures:
        return None
    return style.Chart(
        "effects",
        "What happens when the model cannot use a region",
        "Part of the answers that change when the region is altered, less those that change when "
        "an equal area elsewhere is. Dots: ways of altering; lines: 95 % intervals. Left of the "
        "pass limit, reliance is ruled out; wholly right of the fail limit, it is shown.",
        {
            key: _forest(run, rows[rows["measure"] == measure], measure, "act")
            for key, (measure,) in style.combinations(measures)
        },
        {"Test": [TESTS[measure][0] for measure in measures]},
    )


def by_subgroup(run: Run) -> style.Chart | None:
    """The same per subgroup, for one act at a time."""
    rows = _tested(run)
    rows = rows[(rows["attribute"] != ALL) & (rows["subgroup"] != ALL)]
    if rows.empty:
        return None
    attributes = list(rows["attribute"].unique())
    acts = list(rows["act"].unique())
    figures = {}
    for key, (attribute, act) in style.combinations(attributes, acts):
        some = rows[(rows["attribute"] == attribute) & (rows["act"] == act)]
        if len(some):
            measure = some["measure"].iloc[0]
            figures[key] = _forest(run, some, measure, "subgroup")
    return style.Chart(
        "effects-by-subgroup",
        "Who it affects most",
        "The same effect, split by subgroup. Faded dots rest on fewer independent samples than the "
        "audit's minimum.",
        figures,
        {"Subgroups by": [words.short(name, 40) for name in attributes],
         "Pictures": [words.short(words.act(name), 40) for name in acts]},
    )  # fmt: skip


def _tested(run: Run) -> pd.DataFrame:
    rows = run.evidence
    return rows[rows["measure"].isin(list(TESTS)) & rows["effect"].notna()]


def _forest(run: Run, rows: pd.DataFrame, measure: str, split: str) -> go.Figure:
    targets = list(dict.fromkeys(zip(rows["region"], rows["target_class"], strict=True)))
    position = {target: i for i, target in enumerate(targets)}
    names = list(dict.fromkeys(rows[split]))
    say = words.act if split == "act" else str
    traces = []
    for index, name in enumerate(names):
        some = rows[rows[split] == name]
        place = [position[pair] for pair in zip(some["region"], some["target_class"], strict=True)]
        y = [at + style.dodge(index, len(names)) for at in place]
        trace = style.interval_dots(
            index, words.plotly_text(say(name), 32), some["effect"], some["low"], some["high"], y,
            [_hover(row) for _, row in some.iterrows()],
        )  # fmt: skip
        traces.append(style.faded(trace, run.is_small(some)))
    fail, passed = limits(run, measure)
    row = max(style.ROW, 11 * len(names) + 14)
    labels = [style.row_label(region, words.class_name(label)) for region, label in targets]
    edges = pd.concat([rows["low"], rows["high"], rows["effect"]]).dropna()
    low, high = min(edges.min(), -0.03), max(edges.max(), passed + 0.05)
    marks = (
        (fail, "fail limit", style.LIGHT["fail"], "right"),
        (passed, "pass limit", style.LIGHT["pass"], "left"),
    )
    return style.figure(
        traces,
        row * len(targets) + 126,
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
    if measure in ("sufficiency_excess", "sufficiency"):
        return policy.sufficiency_fail, policy.sufficiency_pass
    return policy.fail_effect, policy.pass_effect


def _hover(row: pd.Series) -> str:
    lines = [
        f"<b>{words.plotly_hover(row['region'])} · "
        f"{words.plotly_hover(words.class_name(row['target_class']))}</b>",
        words.plotly_hover(words.act(row["act"])),
        f"effect {words.percent(row['effect'], signed=True)}"
        f" ({words.interval(row['low'], row['high'])})",
        f"{words.number(row['n'])} samples, {words.number(row['clusters'])} independent, "
        f"{words.number(row['excluded'])} without a pair",
    ]
    if row["attribute"] != ALL:
        subgroup = f"{words.plotly_hover(row['attribute'])}: {words.plotly_hover(row['subgroup'])}"
        lines.insert(1, subgroup)
    if words.finite(row["p_adjusted"]):
        lines.append(f"adjusted p {words.p_value(row['p_adjusted']).replace('<', '&lt;')}")
    return "<br>".join(lines)
