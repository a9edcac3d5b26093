"""Whether something gives the label away in the data itself: attribute, region, picture property.

Clusters are the units: each counts the same, whatever its size, and stays whole in every resample
and permutation. An attribute, or whether a region is there at all, is compared with the label by
Cramer's V; a property of the picture (brightness, size ...) by how well it ranks a class before the
others. The family of the whole table is corrected by Benjamini and Hochberg.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.config import Audit
from audit.data.properties import MEASURED
from audit.evidence.contingency import Scale, cramers_v, cross, mutual_information, permutation_p
from audit.evidence.correction import BENJAMINI_HOCHBERG, corrected
from audit.evidence.intervals import Codes, distinct
from audit.evidence.permutation import MOST_RESAMPLES
from audit.evidence.ranking import auc
from audit.evidence.signflip import generator
from audit.tables import (
    ALL,
    ASSOCIATION,
    CELLS,
    OK,
    UNKNOWN,
    Table,
    attribute_column,
    attributes_of,
    empty,
    to_arrow,
)

TRAINING, AUDIT = "training", "audit"
ATTRIBUTE, REGION, PROPERTY = "attribute", "region", "property"
PRESENT, ABSENT = "present", "absent"

_RESAMPLES = 1999  # for limits; p may need more (the size of the family over alpha)


@dataclass(frozen=True)
class _Factor:
    """Something that may give the label away, sample by sample."""

    kind: str
    name: str
    levels: list[str]
    values: NDArray[Any]


@dataclass(frozen=True)
class _Part:
    """The samples of the training data, or of the audit."""

    name: str
    label: Codes
    clusters: Codes
    classes: list[str]
    factors: list[_Factor]


def build_association(
    samples: pd.DataFrame, properties: pd.DataFrame, config: Audit
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What gives the label away in the training data and in the audited data.

    Parameters
    ----------
    samples, properties
        Tables as in :mod:`audit.tables`, in any row order. Without properties there are neither
        regions nor properties in the result.
    config
        The audit.

    Returns
    -------
    association, cells
        Tables as in :mod:`audit.tables`. A factor that is the same in all samples of a part, or a
        part with a single class, has cells but no association.
    """
    parts = list(_parts(samples, properties, config))
    tests = sum(len(part.factors) * (len(part.classes) + 1) for part in parts)
    family = min(
        MOST_RESAMPLES, max(config.statistics.resamples, math.ceil(tests / config.policy.alpha))
    )
    cells = [row for part in parts for factor in part.factors for row in _cells(part, factor)]
    rows = [
        row
        for part in parts
        for factor in part.factors
        for row in _rows(part, factor, config, family)
    ]
    return _association(rows), _table(cells, CELLS)


def _parts(samples: pd.DataFrame, properties: pd.DataFrame, config: Audit) -> Iterator[_Part]:
    ok = samples[samples["status"] == OK].sort_values("sample_id", ignore_index=True)
    ok = ok.merge(properties, on="sample_id", how="left")
    which = ok["part"].astype(str)
    for name, parts in ((TRAINING, config.data.training_parts), (AUDIT, ("audit",))):
        rows = ok[which.isin(parts)]
        if rows.empty:
            continue
        label, classes = pd.factorize(rows["label"].astype(str).to_numpy(object), sort=True)
        clusters = pd.factorize(rows["cluster_id"].to_numpy(object), sort=True)[0]
        yield _Part(name, label, clusters, list(classes), list(_factors(rows, config)))


def _factors(rows: pd.DataFrame, config: Audit) -> Iterator[_Factor]:
    for name in attributes_of(rows):
        text = rows[attribute_column(name)].astype(object).fillna(UNKNOWN).astype(str)
        codes, levels = pd.factorize(text.to_numpy(object), sort=True)
        yield _Factor(ATTRIBUTE, name, list(levels), codes)
    if rows["areas"].isna().any():
        return
    covered = np.stack(rows["areas"].to_list()) > 0
    for name, there in zip(config.regions.names, covered.T, strict=True):
        yield _Factor(REGION, name, [ABSENT, PRESENT], there.astype(np.intp))
    for name in MEASURED:
        yield _Factor(PROPERTY, name, [], rows[name].to_numpy(np.float64))


def _cells(part: _Part, factor: _Factor) -> Iterator[dict[str, Any]]:
    if factor.kind == PROPERTY:
        return
    shape = (len(part.classes), len(factor.levels))
    weight = cross(part.label, factor.values, part.clusters, shape).total
    for (i, j), mass in np.ndenumerate(weight):
        inside = (part.label == i) & (factor.values == j)
        yield {
            "part": part.name,
            "kind": factor.kind,
            "factor": factor.name,
            "level": factor.levels[j],
            "label": part.classes[i],
            "n": int(inside.sum()),
            "clusters": distinct(part.clusters[inside]),
            "weight": float(mass),
        }


def _rows(part: _Part, factor: _Factor, config: Audit, resamples: int) -> Iterator[dict[str, Any]]:
    levels = np.unique(factor.values).size
    if levels < 2 or len(part.classes) < 2:
        return
    rng = generator(config.seed, "association", part.name, factor.kind, factor.name)
    common = {
        "part": part.name,
        "kind": factor.kind,
        "factor": factor.name,
        "n": part.label.size,
        "clusters": distinct(part.clusters),
        "levels": levels,
    }
    tested = _by_rank if factor.kind == PROPERTY else _by_table
    for row in tested(part, factor, config, resamples, rng):
        yield common | row


def _by_table(
    part: _Part, factor: _Factor, config: Audit, resamples: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    shape = (len(part.classes), len(factor.levels))
    crossing = cross(part.label, factor.values, part.clusters, shape)
    found = cramers_v(crossing, config.statistics.confidence, min(resamples, _RESAMPLES), rng)
    p = permutation_p(crossing, resamples, rng)
    information = mutual_information(crossing.total)
    by_chance = Scale.of(crossing.total, crossing.clusters).bias / (2 * math.log(2))
    for i, target in enumerate([ALL, *part.classes]):
        yield {
            "target_class": target,
            "measure": "cramers_v",
            **vars(found[i]),
            "information": float(information[i]),
            "information_null": float(by_chance[i]),
            "p": float(p[i]),
        }


def _by_rank(
    part: _Part, factor: _Factor, config: Audit, resamples: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    found = auc(
        factor.values,
        part.label,
        part.clusters,
        len(part.classes),
        confidence=config.statistics.confidence,
        resamples=resamples,
        rng=rng,
    )
    for target, (interval, p) in zip(part.classes, found, strict=True):
        yield {"target_class": target, "measure": "auc", **vars(interval), "p": p}


def _association(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    adjusted = corrected([row["p"] for row in rows], BENJAMINI_HOCHBERG)
    pairs = zip(rows, adjusted.tolist(), strict=True)
    return _table([row | {"p_adjusted": value} for row, value in pairs], ASSOCIATION)


def _table(rows: Sequence[dict[str, Any]], table: Table) -> pd.DataFrame:
    if not rows:
        return empty(table)
    columns = [column.name for column in table.columns]
    found: pd.DataFrame = to_arrow(pd.DataFrame(rows, columns=columns), table).to_pandas()
    return found
