"""The table behind a chart: what its points say on hover, what filters pick, what CSV files hold.

A figure's ``customdata`` are row numbers of its chart's table, so that each number travels once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from reports import words
from reports.run import Run

#: How the page writes a column and those whose names begin with its name: "X low" and "X high" are
#: the interval of "X". All others are text.
FORMATS = {
    "effect": "signed percent",
    "accuracy": "percent",
    "share": "percent",
    "density": "ratio",
    "part": "percent",
    "Cramer's V": "number",
    "adjusted p": "p",
    "pictures": "count",
    "independent": "count",
    "left out": "count",
    "epoch": "count",
    "value": "number",
    "margin drop": "number",
}
_DIGITS = 5  # significant ones; an interval is never as sharp


def of_evidence(run: Run, rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Rows of evidence under the names that the page uses, their effect as ``value``.

    The index is 0, 1, 2, ...; ``small`` tells which rows rest on too few clusters.
    """
    return pd.DataFrame(
        {
            "class": [words.class_name(str(name)) for name in rows["target_class"]],
            "attribute": rows["attribute"].to_numpy(object),
            "subgroup": rows["subgroup"].to_numpy(object),
            "region": rows["region"].to_numpy(object),
            "altered": [words.act(str(act)) for act in rows["act"]],
            value: rows["effect"].to_numpy(np.float64),
            f"{value} low": rows["low"].to_numpy(np.float64),
            f"{value} high": rows["high"].to_numpy(np.float64),
            "adjusted p": rows["p_adjusted"].to_numpy(np.float64),
            "pictures": rows["n"].to_numpy(),
            "independent": rows["clusters"].to_numpy(),
            "left out": rows["excluded"].to_numpy(),
            "small": run.is_small(rows).to_numpy(),
        }
    )


def embed(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns for the page, in order: names as numbered levels, numbers rounded.

    >>> embed(pd.DataFrame({"class": ["b", "a", "b"], "share": [0.1234567, None, 1.0]}))
    [{'name': 'class', 'levels': ['b', 'a'], 'codes': [0, 1, 0]}, \
{'name': 'share', 'format': 'percent', 'values': [0.12346, None, 1.0]}]
    """
    columns: list[dict[str, Any]] = []
    for name in map(str, table.columns):
        kind = next(
            (kind for known, kind in FORMATS.items() if f"{name} ".startswith(f"{known} ")), None
        )
        if kind is None:
            codes, levels = pd.factorize(table[name].astype(str).to_numpy(object))
            columns.append({"name": name, "levels": list(levels), "codes": codes.tolist()})
        else:
            columns.append({"name": name, "format": kind, "values": rounded(table[name])})
    return columns


def rounded(values: Iterable[Any]) -> list[float | int | None]:
    """Numbers as short as a reader needs; None where there is none.

    >>> rounded([0.1234567, 1234567, float("nan")])
    [0.12346, 1234567, None]
    """
    return [_round(value) for value in values]


def _round(value: Any) -> float | int | None:
    if pd.isna(value):
        return None
    if float(value).is_integer() and not isinstance(value, float):
        return int(value)
    return float(f"{value:.{_DIGITS}g}")
