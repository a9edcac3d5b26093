"""Which samples the interventions are done on, and how many audited ones each stands for."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from audit.config import Audit
from audit.interventions.hashing import hashed
from audit.tables import OK, attribute_column, attributes_of

POWER = 0.80

# Variance of one sample's part in an effect, at most. Excess flips: two answers that change as
# often as not, independent of each other; what they share makes it less. Sufficiency: one rate,
# stretched to twice its length where two classes are corrected for chance.
_EXCESS_VARIANCE, _SUFFICIENCY_VARIANCE = 0.5, 1.0

Floats = npt.NDArray[np.float64]


def clusters_per_cell(config: Audit) -> int | None:
    """Clusters that are drawn of each cell; None for all.

    ``auto`` is what tells the failing from the passing effect: with so many the upper limit of an
    effect as large as the one that fails lies below the one that passes, and the lower limit of
    the latter above the former, in four of five audits:
    ``((z_confidence + z_power) * sd / (pass - fail))^2``, the size of a non-inferiority trial.

    >>> from audit.config import Audit
    >>> data, source = {"root": "."}, {"encoding": "masks", "columns": {"face": "mask"}}
    >>> audit = {"name": "a", "data": data | {"train": {"split": "train"}}}
    >>> clusters_per_cell(Audit.model_validate(audit | {"regions": {"source": source}}))
    1237
    """
    wanted, policy = config.interventions.per_cell, config.policy
    if wanted != "auto":
        return wanted
    reach = float(norm.ppf(config.statistics.confidence) + norm.ppf(POWER))
    needed = (
        (_EXCESS_VARIANCE, policy.pass_effect - policy.fail_effect),
        (_SUFFICIENCY_VARIANCE, policy.sufficiency_pass - policy.sufficiency_fail),
    )
    sizes = [math.ceil(variance * (reach / room) ** 2) for variance, room in needed]
    return max(*sizes, policy.min_clusters)


def draw(samples: pd.DataFrame, config: Audit) -> Floats:
    """How many audited clusters the cluster of each sample stands for; 0 where it is not drawn.

    Clusters are ranked by a hash of their name and of the run's seed. Of every cell (true class,
    and true class x subgroup) the first so many are drawn, whole. A cluster that is in several
    cells is drawn as often as the cell that draws most, and stands for as many as that leaves out.
    What the model says is not known yet; nor does it matter to the weights.

    Parameters
    ----------
    samples
        The checked ``samples`` table.
    config
        The audit.

    Returns
    -------
    ``[N]`` float64. 1 for all where no cell is larger than needed, and outside the audit part.
    """
    weights = np.ones(len(samples))
    most = clusters_per_cell(config)
    audited = np.flatnonzero((samples["part"] == "audit") & (samples["status"] == OK))
    if most is None or len(audited) == 0:
        return weights
    rows = samples.iloc[audited]
    clusters, names = pd.factorize(rows["cluster_id"].astype(str))
    order = np.argsort([hashed(f"{config.seed}/{name}") for name in names])
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    chance = np.zeros(len(names))  # of being drawn
    drawn = np.zeros(len(names), dtype=bool)
    for cell in _cells(rows):
        members = np.unique(clusters[cell])
        first = members[np.argsort(rank[members])[:most]]
        drawn[first] = True
        chance[members] = np.maximum(chance[members], len(first) / len(members))
    weights[audited] = np.where(drawn, 1 / chance, 0)[clusters]
    return weights


def _cells(rows: pd.DataFrame) -> Iterator[npt.NDArray[np.intp]]:
    """Places of the rows of each true class, and of each subgroup of it."""
    label = pd.factorize(rows["label"].astype(str))[0]
    columns = [rows[attribute_column(name)].astype(str) for name in attributes_of(rows)]
    for column in (pd.Series("", index=rows.index), *columns):
        values, names = pd.factorize(column)
        codes = label * len(names) + values
        order = np.argsort(codes, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
