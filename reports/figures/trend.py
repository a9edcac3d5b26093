"""How accuracy and effects went over the runs of one audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from audit.listing import Listed
from reports import words
from reports.figures import style

CLAIMS = 7  # with accuracy as many as there are colours
MANY = 30  # runs from which on dots and intervals are drawn fine
_FLAGGED = ("CONFIRMED", "WAIVED", "KNOWN")

Claim = tuple[str, str, str]


def of_runs(number: int, runs: Sequence[Listed]) -> style.Chart | None:
    """Accuracy above, effects below, by the time of the run; None for a single run.

    Of many findings those are shown that were ever confirmed, and then the largest effects.
    """
    if len(runs) < 2:
        return None
    ordered = sorted(runs, key=lambda one: one.started)
    claims = _ranked(ordered)
    shown, left_out = claims[:CLAIMS], len(claims[CLAIMS:])
    traces = [_accuracy(ordered), *(_effect(i, claim, ordered) for i, claim in enumerate(shown))]
    figure = style.figure(
        traces,
        430 + 22 * len(shown),
        xaxis={"anchor": "y2", "domain": [0, 1]},
        yaxis=_axis("accuracy", [0.66, 1.0]),
        yaxis2={**style.AXIS, **_axis("effect", [0.0, 0.56]), "zeroline": True,
                "zerolinecolor": style.LIGHT["muted"]},
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
        margin={"t": 60 + 22 * len(shown) // 2, "l": 48},
    )  # fmt: skip
    more = f" {left_out} more findings with smaller effects are left out." if left_out else ""
    return style.Chart(
        f"trend-{number}",
        "Trend",
        "Above: part of the pictures answered rightly. Below: part of the answers that rest on a "
        "region that they must not rest on. Lines are intervals of the confidence that each audit "
        f"asks for.{more}",
        {"": figure},
    )


def _ranked(runs: Sequence[Listed]) -> list[Claim]:
    """Claims, those ever confirmed first, then by the largest effect."""
    rank: dict[Claim, tuple[bool, float]] = {}
    for run in runs:
        for finding in run.findings:
            claim, effect = _claim(finding), finding.get("effect")
            flagged, largest = rank.get(claim, (False, 0.0))
            rank[claim] = (
                flagged or finding["status"] in _FLAGGED,
                max(largest, abs(effect) if words.finite(effect) else 0.0),
            )
    return sorted(rank, key=lambda claim: (*(-value for value in rank[claim]), claim))


def _claim(finding: dict[str, Any]) -> Claim:
    return finding["region"], finding["target_class"], finding["test"]


def _accuracy(runs: Sequence[Listed]) -> go.Scatter:
    rows = [run.accuracy for run in runs]
    hover = [
        f"{_head(run)}accuracy {words.percent(row.get('effect'))} "
        f"({words.interval(row.get('low'), row.get('high'))})<br>"
        f"{words.number(row.get('n'))} samples"
        for run, row in zip(runs, rows, strict=True)
    ]
    return _line(0, "accuracy", runs, rows, hover, "y")


def _effect(index: int, claim: Claim, runs: Sequence[Listed]) -> go.Scatter:
    rows: list[dict[str, Any]] = [
        next((one for one in run.findings if _claim(one) == claim), {"status": "not tested"})
        for run in runs
    ]
    region, target, _ = claim
    name = f"{words.plotly_text(region, 20)} · {words.plotly_text(words.class_name(target), 20)}"
    hover = [
        f"{_head(run)}<b>{name}</b><br>effect {words.percent(row.get('effect'), signed=True)} "
        f"({words.interval(row.get('low'), row.get('high'))})<br>"
        f"{words.plotly_text(str(row['status']).lower())}, "
        f"{words.number(row.get('clusters'))} independent samples"
        for run, row in zip(runs, rows, strict=True)
    ]
    return _line(index + 1, name, runs, rows, hover, "y2")


def _line(
    index: int,
    name: str,
    runs: Sequence[Listed],
    rows: Sequence[dict[str, Any]],
    hover: Sequence[str],
    axis: str,
) -> go.Scatter:
    effect, low, high = (
        np.array([_number(row.get(key)) for row in rows]) for key in ("effect", "low", "high")
    )
    many = len(runs) > MANY
    marker = style.series(index) | {"size": 5 if many else 9}
    return go.Scatter(
        name=name,
        x=[f"{run.started:%Y-%m-%d %H:%M:%S}" for run in runs],
        y=effect,
        yaxis=axis,
        mode="lines+markers",
        marker=marker,
        line={"color": marker["color"], "width": 1.5},
        error_y={
            "type": "data", "symmetric": False, "array": high - effect, "arrayminus": effect - low,
            "thickness": 0.5 if many else 1.5, "width": 0, "color": marker["color"],
        },
        customdata=list(hover),
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _number(value: object) -> float:
    return float(value) if words.finite(value) else float("nan")


def _head(run: Listed) -> str:
    return f"{run.started:%Y-%m-%d %H:%M} · {words.plotly_text(run.run.folder.name, 40)}<br>"


def _axis(title: str, domain: list[float]) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 13, "color": style.LIGHT["muted"]}},
        "tickformat": ".0%",
        "domain": domain,
        "zeroline": False,
    }
