"""What to do about a confirmed finding: which samples to collect, or which region to augment."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import optimize, special

from audit.config import Audit
from audit.evidence.association import REGION, TRAINING
from audit.evidence.intervals import Floats
from audit.gate.findings import Addition, DataBias, Finding, Remedy
from audit.tables import UNKNOWN

_SMALL = 24  # cells of a table that is shown whole
_NAMED = 4  # cells named in the sentence


def remedy(finding: Finding, cells: pd.DataFrame, config: Audit) -> Remedy:
    """What to do about a finding, from the cells of its data.

    Parameters
    ----------
    finding
        With its data bias.
    cells
        The cells table.
    config
        The audit.
    """
    bias = finding.data_bias
    augment, painting = _painting(finding, config)
    if bias is None:
        return Remedy(f"{_upper(painting)}. {_AGAIN}", augment=augment)
    if bias.status != "biased":
        said = _not_biased(bias)
        return Remedy(f"{said} {_upper(painting)}. {_AGAIN}", augment=augment)
    additions = _additions(cells, bias)
    lacking = sorted((one for one in additions if one.add), key=lambda one: -one.add)
    shown = additions if len(additions) <= _SMALL else lacking[:_SMALL]
    if not lacking:
        return Remedy(f"{_upper(painting)}. {_AGAIN}", bias.factor, shown, augment)
    too = f" The class is tied to {_listed(bias.also)} too." if bias.also else ""
    sentence = f"{_collect(lacking, bias)}, or {painting}.{too} {_AGAIN}"
    return Remedy(sentence, bias.factor, shown, augment)


_AGAIN = "Only another audit shows whether it worked."


def smallest_additions(table: Floats) -> Floats:
    """The fewest samples to add that make rows and columns independent; none is removed.

    Parameters
    ----------
    table
        [r, k] counts; no row or column is empty.

    Returns
    -------
    [r, k] whole numbers. Independent tables are u v^T; the smallest above the counts is a geometric
    programme, convex in log u and log v (Boyd et al. 2007, Optimization and Engineering 8:67).
    For two rows and columns it raises the smaller diagonal to the geometric mean of the larger one.

    >>> smallest_additions(np.array([[90.0, 10.0], [20.0, 40.0]]))
    array([[ 0., 50.],
           [40.,  0.]])
    """
    r, k = table.shape
    i, j = np.nonzero(table)
    counts = np.log(table[i, j])
    above = np.zeros((i.size, r + k))
    above[np.arange(i.size), i] = above[np.arange(i.size), r + j] = 1
    start = np.concatenate([np.log(table.max(1)), np.zeros(k)])

    def total(x: Floats) -> float:
        return float(special.logsumexp(x[:r]) + special.logsumexp(x[r:]))

    def slope(x: Floats) -> Floats:
        return np.concatenate([special.softmax(x[:r]), special.softmax(x[r:])])

    solved = optimize.minimize(
        total,
        start,
        jac=slope,
        constraints=optimize.LinearConstraint(above, lb=counts),
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    filled = [_filled(table, np.exp(x[r:] - x[r:].max())) for x in (solved.x, start)]
    best = min(filled, key=lambda one: float(one.sum()))
    return np.maximum(np.round(best - table), 0)


def _filled(table: Floats, columns: Floats) -> Floats:
    """The smallest independent table above the counts with columns in these proportions."""
    rows = (table / columns).max(1)
    return np.outer(rows, columns)


def _additions(cells: pd.DataFrame, bias: DataBias) -> list[Addition]:
    rows = cells.astype(dict.fromkeys(("part", "kind", "factor", "level", "label"), object))
    rows = rows[
        (rows["part"] == bias.part)
        & (rows["kind"] == bias.kind)
        & (rows["factor"] == bias.factor)
        & (rows["level"] != UNKNOWN)
    ]
    weight = rows.pivot_table(index="label", columns="level", values="weight", sort=True)
    weight = weight.loc[weight.sum(axis=1) > 0, weight.sum(axis=0) > 0]
    have = rows.pivot_table(index="label", columns="level", values="clusters", sort=True)
    if min(weight.shape) < 2:
        return []
    add = _additions_once(weight.shape, weight.to_numpy(np.float64).tobytes())
    return [
        Addition(str(label), str(level), int(have.loc[label, level]), int(add[i, j]))
        for i, label in enumerate(weight.index)
        for j, level in enumerate(weight.columns)
    ]


@lru_cache(maxsize=64)  # findings share the table of their factor, and large ones take seconds
def _additions_once(shape: tuple[int, int], table: bytes) -> Floats:
    return smallest_additions(np.frombuffer(table).reshape(shape))


def _collect(lacking: list[Addition], bias: DataBias) -> str:
    named = [_cell(one, bias) for one in lacking[:_NAMED]]
    more = len(lacking) - len(named)
    if more:
        named.append(f"{sum(one.add for one in lacking[_NAMED:]):,} in {more} more cells")
    known = bias.part == TRAINING
    where = "for the training data" if known else "if the training data is like the audited data"
    return f"Collect {where} {_listed(named)}"


def _cell(one: Addition, bias: DataBias) -> str:
    if bias.kind == REGION:
        return f"{one.add:,} '{one.label}' with {bias.factor} {one.level}"
    return f"{one.add:,} '{one.label}' with {bias.factor} '{one.level}'"


def _not_biased(bias: DataBias) -> str:
    what = bias.factor if bias.kind != REGION else f"the presence of {bias.factor}"
    if bias.status == "unbiased":
        return (
            f"The {bias.part} data does not explain it ({what}: Cramer's V {bias.effect:.2f}), so "
            "more of the same data would not help."
        )
    return f"Whether the {bias.part} data is biased is not decided ({what}: V {bias.effect:.2f})."


def _painting(finding: Finding, config: Audit) -> tuple[list[str], str]:
    """Regions to paint over in training, and that in words."""
    region = finding.region
    core = config.regions.with_role("core", finding.target_class)
    crop = f", or crop the pictures to {_listed(core)}" if core else ""
    if not config.model.trains:
        return [region], f"train again with {region} painted over at random{crop}"
    if region in config.model.train.augment.paint_regions:
        return [region], f"paint {region} more often (model.train.augment.paint_probability){crop}"
    key = "model.train.augment.paint_regions"
    return [region], f"paint {region} at random in training ({key}: [{region}]){crop}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
