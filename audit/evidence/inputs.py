"""What every measure reads: the audited samples, their cells, and the tables on their axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.config import Audit
from audit.errors import RunError
from audit.evidence.axis import (
    ATTENTION_COLUMNS,
    MAPS_COLUMNS,
    Attention,
    Axis,
    Mask,
    Measured,
    has_two,
    read_attention,
)
from audit.evidence.grids import Maps
from audit.evidence.intervals import Codes, Floats, Interval, distinct
from audit.evidence.permutation import MOST_RESAMPLES
from audit.parts import Rows
from audit.tables import ALL, MAPS, OK, UNKNOWN, attribute_column, attributes_of, empty

__all__ = [
    "ATTENTION_COLUMNS",
    "INTERVENTIONS_COLUMNS",
    "MAPS_COLUMNS",
    "Cell",
    "Inputs",
    "Mask",
    "Measured",
    "Objects",
    "Row",
    "read_inputs",
]

INTERVENTIONS_COLUMNS = (
    "sample_id",
    "region",
    "test",
    "arm",
    "fill",
    "donor_id",
    "margin_after",
    "true_margin_after",
    "prediction_before",
    "prediction_after",
    "logits_before",
    "logits_after",
)

Objects = NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the evidence table, before what takes all rows together."""

    measure: str
    region: str = ALL
    role: str = ALL
    target_class: str = ALL
    attribute: str = ALL
    subgroup: str = ALL
    act: str = ALL
    required: bool = False
    n: int
    clusters: int
    excluded: int = 0
    undrawn: int = 0
    interval: Interval
    margin_effect: float = math.nan
    p: float = math.nan

    def record(self) -> dict[str, Any]:
        """The row as columns."""
        columns = {name: value for name, value in vars(self).items() if name != "interval"}
        return columns | vars(self.interval)


class Cell(NamedTuple):
    """A subgroup of a class: which of the audited samples are in it."""

    target_class: str
    attribute: str
    subgroup: str
    inside: Mask

    @property
    def whole(self) -> bool:
        """Whether it is the class with all its subgroups."""
        return self.attribute == ALL


@dataclass(frozen=True)
class Inputs:
    """The tables of one audit, with the audited samples as the axis of every array.

    Attributes
    ----------
    samples
        Samples of the audit part that are ok, sorted by name, index 0 ... n - 1.
    attention
        What the attention table says, on the axis.
    interventions
        Rows of those samples, sorted by name, with their place on the axis in ``at``.
    maps
        The table of maps, to be asked.
    classes
        Class names of the audit.
    training
        Samples of the training part that are ok, where there are any.
    """

    samples: pd.DataFrame
    attention: Attention
    interventions: pd.DataFrame
    maps: Maps
    classes: tuple[str, ...]
    config: Audit
    training: pd.DataFrame

    @cached_property
    def prediction(self) -> Objects:
        """Class predicted on the untouched picture."""
        return self.samples["prediction"].to_numpy(object)

    @cached_property
    def label(self) -> Objects:
        """True class."""
        return self.samples["label"].to_numpy(object)

    @cached_property
    def cluster(self) -> Codes:
        """Code of each sample's cluster."""
        return pd.factorize(self.samples["cluster_id"].to_numpy(object), sort=True)[0]

    @cached_property
    def stands_for(self) -> Floats:
        """Audited clusters that each sample's cluster stands for; 0 where it was not drawn."""
        return self.samples["stands_for"].to_numpy(np.float64)

    @cached_property
    def drawn(self) -> Mask:
        """Which samples were drawn for the interventions."""
        return self.stands_for > 0

    def shows(self, region: str) -> Mask:
        """Which samples have a region; those that no map was measured on count as having it."""
        lacking = self.attention.lacking.get(region)
        return np.ones(len(self.samples), dtype=np.bool_) if lacking is None else ~lacking

    @property
    def measured(self) -> dict[tuple[str, str], Measured]:
        """Method and region: attention of the maps that explain the true class."""
        return self.attention.measured

    def on_the_same_samples(self, method: str, members: Mask) -> Iterator[tuple[list[str], Mask]]:
        """Regions that can be measured on the same of some samples: they can be drawn together."""
        groups: dict[bytes, tuple[list[str], Mask]] = {}
        for region in self.config.regions.names:
            measured = self.measured.get((method, region))
            if measured is not None and members.any():
                used = members & measured.usable
                groups.setdefault(used.tobytes(), ([], used))[0].append(region)
        yield from groups.values()

    def donor_cluster(self, arm: pd.DataFrame) -> Codes:
        """Code of the cluster of each sample's donor in one arm of the swap; -1 where none."""
        donors = pd.Index(self.samples["sample_id"]).get_indexer(pd.Index(arm["donor_id"]))
        return np.where(donors < 0, -1, self.cluster[donors])

    @cached_property
    def margin_sd(self) -> float:
        """Standard deviation of the margin over the audited samples, the unit of margins."""
        return float(self.samples["margin"].astype(np.float64).std(skipna=False))

    @cached_property
    def subgroups(self) -> list[tuple[str, str, Mask]]:
        """Attribute, value and members of every subgroup; first the one of all samples."""
        everyone = np.ones(len(self.samples), dtype=np.bool_)
        return [(ALL, ALL, everyone)] + [
            (name, value, codes == i)
            for name, (values, codes) in self.levels.items()
            for i, value in enumerate(values)
        ]

    @cached_property
    def levels(self) -> dict[str, tuple[list[str], Codes]]:
        """Attribute: its values, and the code of each sample's; a missing one is a value too."""
        found = {}
        for name in attributes_of(self.samples):
            column = self.samples[attribute_column(name)]
            codes, values = pd.factorize(column.to_numpy(object), sort=True)
            missing = codes < 0
            names = [*map(str, values), *([UNKNOWN] if missing.any() else [])]
            found[name] = names, np.where(missing, len(values), codes)
        return found

    @cached_property
    def resamples(self) -> int:
        """Sign flips: as configured, or more where Holm over all tests needs a smaller p."""
        config = self.config
        acts = len(config.interventions.fills) + 1
        tests = acts * sum(len(config.required_regions(name)) for name in self.classes)
        alpha = config.policy.alpha
        return max(config.statistics.resamples, math.ceil(tests / alpha) if alpha > 0 else 0)

    @cached_property
    def screen_resamples(self) -> int:
        """Permutations: as configured, or more where the screen's family needs a smaller p."""
        policy, statistics = self.config.policy, self.config.statistics
        claims = 0
        for target in self.classes:
            members = self.label == target
            sizes = [
                min(distinct(self.cluster[side]) for side in (members & inside, members & ~inside))
                for _, _, inside in self.subgroups[1:]
            ]
            claims += 1 + sum(size >= policy.min_subgroup_clusters for size in sizes)
        family = claims * len(self.config.regions.names)
        wanted = math.ceil(family / policy.screen_q) - 1
        return max(statistics.resamples, min(wanted, MOST_RESAMPLES))

    @cached_property
    def tested_regions(self) -> list[str]:
        """Regions whose reliance is required to be tested, for any class."""
        required = {r for name in self.classes for r in self.config.required_regions(name)}
        return [name for name in self.config.regions.names if name in required]

    def cells(self, target_class: str, members: Mask) -> Iterator[Cell]:
        """A class as a whole, then each of its subgroups that has members."""
        for attribute, subgroup, inside in self.subgroups:
            cell = Cell(target_class, attribute, subgroup, members & inside)
            if cell.whole or cell.inside.any():
                yield cell

    def on_axis(self, rows: pd.DataFrame, what: str) -> pd.DataFrame:
        """Rows, at most one for each sample, on the axis of the samples; NaN where there is none.

        Raises
        ------
        RunError
            If a sample has two.
        """
        if rows["at"].duplicated().any():
            raise has_two(rows.loc[rows["at"].duplicated(), "sample_id"].iloc[0], what)
        return rows.set_index("at").reindex(self.samples.index)


def read_inputs(
    samples: pd.DataFrame,
    attention: Rows,
    interventions: pd.DataFrame,
    config: Audit,
    maps: Rows | None = None,
) -> Inputs:
    """Bring the tables of an audit into one order.

    The long ones, attention and maps, may be stored: then a part of them is held at a time.

    Raises
    ------
    RunError
        If a table has samples that the audit does not know, or an audited one no prediction.
    """
    ok = samples[samples["status"] == OK]
    audited = ok[ok["part"] == "audit"].sort_values("sample_id").reset_index(drop=True)
    unpredicted = audited["prediction"].isna()
    if unpredicted.any():
        first = audited.loc[unpredicted, "sample_id"].iloc[0]
        raise RunError(f"samples: {first!r} has no prediction; the run is not finished")
    seen = {*ok["label"].dropna(), *audited["prediction"]}
    axis = Axis(audited["sample_id"], samples["sample_id"])
    return Inputs(
        samples=audited,
        attention=read_attention(attention, axis),
        interventions=axis.located(
            interventions[list(INTERVENTIONS_COLUMNS)], "interventions"
        ).sort_values("at", kind="stable"),
        maps=Maps(empty(MAPS) if maps is None else maps, axis, len(config.regions.names)),
        classes=tuple(config.data.classes or sorted(seen)),
        config=config,
        training=ok[ok["part"].isin(config.data.training_parts)]
        .sort_values("sample_id")
        .reset_index(drop=True),
    )
