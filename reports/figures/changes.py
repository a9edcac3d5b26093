"""Two runs in one chart: effects and accuracies before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from audit.evidence.change import AccuracyChange
from audit.evidence.intervals import Interval
from audit.gate.comparison import Compared
from audit.gate.findings import Act
from audit.tables import ALL
from reports import words
from reports.figures import style
from reports.figures.effects import MEASURES, TESTS

_ROW = 56  # pixels: a label of three lines
_CLASSES = "Whole classes"


@dataclass(frozen=True)
class Row:
    """One row of a chart: a label, and an interval for each series, with its hover box."""

    label: str
    intervals: Sequence[Interval]
    hovers: Sequence[str]


def of_claims(claims: Sequence[Compared], confidence: str) -> style.Chart | None:
    """Forest plot of every comparable claim: effect before, after, and the difference."""
    shown = [claim for claim in claims if claim.difference is not None]
    tests = [test for test in MEASURES if any(one.claim.test == test for one in shown)]
    if not tests:
        return None
    figures = {}
    for key, (test,) in style.combinations(tests):
        rows = [_claim_row(one) for one in shown if one.claim.test == test]
        figures[key] = _dots(
            rows,
            ("before", "after", "difference"),
            TESTS[MEASURES[test]][1],
            zero=True,
        )
    return style.Chart(
        "changes",
        "Every finding, before and after",
        f"Each line is a {confidence} interval. A finding changed for certain where the line of "
        "the difference (after less before) keeps clear of 0; left of 0 the model relies less on "
        "the region than it did.",
        figures,
        {"Test": [TESTS[MEASURES[test]][0] for test in tests]},
    )


def of_accuracy(changes: Sequence[AccuracyChange], confidence: str) -> style.Chart | None:
    """Accuracy before and after: of whole classes, or by subgroup."""
    groups: dict[str, list[AccuracyChange]] = {}
    for one in changes:
        attribute = _CLASSES if one.now.attribute == ALL else one.now.attribute
        if words.finite(one.difference.effect):
            groups.setdefault(attribute, []).append(one)
    if not groups:
        return None
    return style.Chart(
        "accuracy-changes",
        "Accuracy, before and after",
        f"Part of the pictures answered rightly. Lines are {confidence} intervals; the table below "
        "has the differences with theirs.",
        {
            key: _dots([_cell_row(one) for one in groups[name]], ("before", "after"),
                       "correct answers")
            for key, (name,) in style.combinations(list(groups))
        },
        {"Shown": [words.short(name, 40) for name in groups]},
    )  # fmt: skip


def _dots(
    rows: Sequence[Row], names: Sequence[str], title: str, *, zero: bool = False
) -> go.Figure:
    traces = []
    for index, name in enumerate(names):
        own = [row.intervals[index] for row in rows]
        effect, low, high = (
            np.array([getattr(one, key) for one in own]) for key in ("effect", "low", "high")
        )
        place = [at + style.dodge(index, len(names)) for at in range(len(rows))]
        hover = [row.hovers[index] for row in rows]
        traces.append(style.interval_dots(index, name, effect, low, high, place, hover))
    edges = [v for row in rows for one in row.intervals for v in (one.low, one.high, one.effect)]
    known = [edge for edge in edges if words.finite(edge)]
    span = [min(known) - 0.03, max(known) + 0.03]
    return style.figure(
        traces,
        _ROW * len(rows) + 110,
        xaxis=style.percent_axis(title, range=[min(span[0], 0) if zero else span[0], span[1]]),
        yaxis=style.rows_axis([row.label for row in rows]),
        margin={"t": 46},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        shapes=[
            *style.row_rules(len(rows)),
            *([style.upright(0, style.LIGHT["muted"], width=1)] if zero else []),
        ],
    )


def _claim_row(one: Compared) -> Row:
    assert one.act_before is not None
    assert one.act_now is not None
    assert one.difference is not None
    claim = one.claim
    label = style.row_label(claim.region, words.class_name(claim.target_class))
    head = (
        f"<b>{words.plotly_hover(claim.region)} · "
        f"{words.plotly_hover(words.class_name(claim.target_class))}</b><br>"
        f"{words.plotly_hover(words.act(one.act_now.act))}<br>"
    )
    before, now = _interval(one.act_before), _interval(one.act_now)
    return Row(
        f"{label}<br><i>{one.kind}</i>",
        (before, now, one.difference),
        (
            f"{head}before: {_told(before)}<br>{_size(one.act_before.n, one.act_before.clusters)}",
            f"{head}after: {_told(now)}<br>{_size(one.act_now.n, one.act_now.clusters)}",
            f"{head}difference: {_told(one.difference)}",
        ),
    )


def _cell_row(one: AccuracyChange) -> Row:
    target = words.class_name(one.now.target_class)
    label = (
        words.plotly_text(target)
        if one.now.attribute == ALL
        else style.row_label(target, one.now.subgroup)
    )
    head = f"<b>{words.plotly_hover(target)}</b><br>"
    if one.now.attribute != ALL:
        head += (
            f"{words.plotly_hover(one.now.attribute)}: {words.plotly_hover(one.now.subgroup)}<br>"
        )
    rows = {"before": one.before, "after": one.now}
    return Row(
        label,
        [row.interval for row in rows.values()],
        [
            f"{head}{when}: {_told(row.interval, signed=False)}<br>{_size(row.n, row.clusters)}"
            for when, row in rows.items()
        ],
    )


def _interval(act: Act) -> Interval:
    numbers = (act.effect, act.low, act.high)
    return Interval(*(np.nan if number is None else number for number in numbers))


def _told(interval: Interval, *, signed: bool = True) -> str:
    effect = words.percent(interval.effect, signed=signed)
    return f"{effect} ({words.interval(interval.low, interval.high)})"


def _size(n: int, clusters: int) -> str:
    return f"{words.number(n)} samples, {words.number(clusters)} independent"
