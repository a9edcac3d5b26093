"""How a number changed between two runs, of which some clusters may be in both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit.evidence.accuracy import accuracy_cells, accuracy_in
from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import Interval


@dataclass(frozen=True)
class AccuracyChange:
    """Accuracy of one cell in two runs, and the difference.

    Attributes
    ----------
    now, before
        The cell's row of the evidence in either run.
    difference
        Now less before, in fractions of the samples.
    shared
        Clusters of the cell that are in both runs; with 0 the runs are taken as independent.
    """

    now: Row
    before: Row
    difference: Interval
    shared: int


def change(now: Interval, before: Interval, correlated: float) -> Interval:
    """Difference of two estimates, from the limits of each and the correlation of the two.

    MOVER (Zou and Donner, Statistics in Medicine 27 (2008) 1693-1702; with correlation: Zou,
    Psychological Methods 12 (2007) 399-413, equation 15): the distances from each estimate to its
    own limit are added as vectors. It keeps what the limits know about rates near 0 and 1; of
    Wilson limits it makes Newcombe's interval.

    >>> now, before = Interval(0.5, 0.4, 0.6, 0.4, 0.6), Interval(0.2, 0.1, 0.3, 0.1, 0.3)
    >>> round(change(now, before, 0.0).low, 3), round(change(now, before, 1.0).low, 3)
    (0.159, 0.3)
    """

    def limits(low: str, high: str) -> tuple[float, float]:
        l1, u1 = getattr(now, low), getattr(now, high)
        l0, u0 = getattr(before, low), getattr(before, high)
        down = _reach(now.effect - l1, u0 - before.effect, correlated)
        up = _reach(u1 - now.effect, before.effect - l0, correlated)
        return effect - down, effect + up

    effect = now.effect - before.effect
    return Interval(effect, *limits("low", "high"), *limits("lower_limit", "upper_limit"))


def _reach(one: float, other: float, correlated: float) -> float:
    """Length of the difference of two vectors at an angle whose cosine is the correlation."""
    square = one * one + other * other - 2 * correlated * one * other
    return math.sqrt(max(square, 0.0)) if math.isfinite(square) else math.nan


def correlation(first: pd.Series[float], second: pd.Series[float]) -> float:
    """Correlation of two sums over clusters, of which some may be in both.

    Where the same samples were audited this is that of the pairs; where no cluster is in both, 0:
    the runs are independent. A positive one is corrected for continuity as in Newcombe's method 10
    (Statistics in Medicine 17 (1998) 2635-2650): else two models that happen to answer alike on a
    few clusters would have a difference of 0 that is certain.

    >>> now = pd.Series([0.5, -0.5] * 20)
    >>> round(correlation(now, now), 6), correlation(now, now.rename(lambda name: name + 40))
    (0.95, 0.0)
    """
    shared = first.index.intersection(second.index)
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    if scale == 0 or min(len(first), len(second)) == 1:  # of one cluster rounding errors alone
        return 0.0
    together = float((first.reindex(shared) * second.reindex(shared)).sum())
    if together > 0:
        together = max(together - float(np.ptp(first) * np.ptp(second)) / 2, 0.0)
    return min(1.0, max(-1.0, together / scale))


def accuracy_changes(now: Inputs, before: Inputs) -> list[AccuracyChange]:
    """Accuracy of every cell that both runs have, overall first, and how it changed.

    The difference is paired by cluster: the more alike the two models answer on the same clusters,
    the narrower it is. Of cells without a common cluster it is Newcombe's for independent rates.
    """
    earlier = {_name(cell): cell for cell in accuracy_cells(before)}
    found = []
    for cell in accuracy_cells(now):
        if (old := earlier.get(_name(cell))) is None:
            continue
        ours, theirs = _contributions(now, cell), _contributions(before, old)
        row, row_before = accuracy_in(now, cell), accuracy_in(before, old)
        difference = change(row.interval, row_before.interval, correlation(ours, theirs))
        shared = len(ours.index.intersection(theirs.index))
        found.append(AccuracyChange(row, row_before, difference, shared))
    return found


def _name(cell: Cell) -> tuple[str, str, str]:
    return cell.target_class, cell.attribute, cell.subgroup


def _contributions(inputs: Inputs, cell: Cell) -> pd.Series[float]:
    """What each cluster adds to the accuracy of a cell, less its expectation, by cluster name."""
    right = (inputs.prediction == inputs.label).astype(np.float64)[cell.inside]
    added = pd.Series((right - right.mean()) / right.size if right.size else right)
    return added.groupby(inputs.samples["cluster_id"].to_numpy(object)[cell.inside]).sum()
