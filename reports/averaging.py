"""Sums of a run's grid maps over classes and subgroups, a few maps at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from audit.attention.averages import Codes, Flags, Floats, boxes, crops, densities, equal_clusters
from audit.errors import RunError
from reports.run import Run

SIDE = 14  # places per side of an aligned map
_BATCH = 1024  # maps in memory


class Batch(NamedTuple):
    """Maps that explain the true class: places on the axis of the audited samples, maps, masks."""

    at: Codes
    maps: NDArray[np.float32]
    masks: NDArray[np.float16]


@dataclass(frozen=True)
class Cells:
    """Which cells each audited sample is in: its class as a whole, and one per attribute.

    Attributes
    ----------
    subgroups
        Levels by attribute; the first, without a name, has one level: all.
    codes
        Per attribute, the cell of each sample ``[n]``; -1: of a class or level not shown.
    clusters
        ``[n]`` cluster codes.
    """

    classes: list[str]
    subgroups: dict[str, list[str]]
    codes: list[Codes]
    clusters: Codes

    @cached_property
    def offsets(self) -> list[int]:
        """First cell of each attribute, and the number of cells."""
        sizes = [len(self.classes) * len(levels) for levels in self.subgroups.values()]
        return [0, *np.cumsum(sizes).tolist()]

    def weights(self, usable: Flags) -> sparse.csc_matrix:
        """Weights ``[cells, n]`` of the usable samples; they sum to the number of clusters."""
        parts = []
        for codes in self.codes:
            at = np.flatnonzero(usable & (codes >= 0))
            parts.append((equal_clusters(codes[at], self.clusters[at]), codes[at], at))
        values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.csc_matrix((values, (rows, columns)), (self.offsets[-1], len(usable)))

    def count(self, flags: Flags) -> Codes:
        """Number of flagged samples in each cell."""
        inside = [codes[flags & (codes >= 0)] for codes in self.codes]
        return np.bincount(np.concatenate(inside), minlength=self.offsets[-1])


@dataclass
class Frame:
    """Sums of the maps of each cell on one frame: the picture, or the box of a region."""

    region: str | None
    index: int | None
    usable: Flags
    weights: sparse.csc_matrix
    sums: Any = 0.0
    seen: Any = 0.0
    size: tuple[int, int] = (0, 0)

    def add(self, batch: Batch) -> None:
        """Add maps to the sums."""
        own = self.usable[batch.at]
        if not own.any():
            return
        values = densities(batch.maps[own])
        inside = np.ones(values.shape, bool)
        if self.index is not None:
            values, inside = crops(values, boxes(batch.masks[own, self.index]), SIDE)
        weights = self.weights[:, batch.at[own]]
        self.size = values.shape[1], values.shape[2]
        self.sums = self.sums + weights @ values.reshape(len(values), -1)
        self.seen = self.seen + weights @ inside.reshape(len(values), -1).astype(float)

    @property
    def clusters(self) -> Codes:
        """Number of clusters in each cell."""
        return np.asarray(self.weights.sum(1)).reshape(-1).round().astype(np.int64)

    def means(self) -> Floats:
        """Mean ``[cells, places]`` over clusters; NaN where under half show that place."""
        known = self.seen >= np.maximum(self.clusters, 1)[:, None] / 2
        return np.where(known, self.sums / np.where(known, self.seen, 1), np.nan)


@dataclass
class Outlines:
    """Sums of the masks of some regions over each class."""

    regions: list[tuple[str, int]]
    weights: sparse.csc_matrix
    sums: Any = 0.0

    def add(self, batch: Batch) -> None:
        """Add masks to the sums."""
        if not self.regions:
            return
        masks = batch.masks[:, [index for _, index in self.regions]].astype(np.float64)
        self.sums = self.sums + self.weights[:, batch.at] @ masks.reshape(len(masks), -1)

    def by_region(self) -> Floats:
        """Sums ``[classes, regions, places]``; over the number of clusters they are means."""
        return np.asarray(self.sums).reshape(len(self.sums), len(self.regions), -1)


def batches(run: Run, path: Path) -> Iterator[Batch]:
    """Maps of the audited samples' true class, a few at a time."""
    axis = pd.Index(run.audited["sample_id"])
    regions = len(run.config.regions.names)
    columns = ["sample_id", "explained", "height", "width", "map", "masks"]
    try:
        for rows in pq.ParquetFile(path).iter_batches(_BATCH, columns=columns):
            at = axis.get_indexer(rows["sample_id"].to_pandas())
            kept = (rows["explained"].to_pandas() == "true").to_numpy() & (at >= 0)
            if not kept.any():
                continue
            grid = rows["height"][0].as_py(), rows["width"][0].as_py()
            yield Batch(
                at[kept].astype(np.int64),
                rows["map"].flatten().to_numpy().reshape(len(rows), *grid)[kept],
                rows["masks"].flatten().to_numpy().reshape(len(rows), regions, *grid)[kept],
            )
    except (pa.ArrowInvalid, KeyError, ValueError, OSError) as error:
        problem = str(error).splitlines()[0]
        raise RunError(f"{path}: not a table of maps ({problem}); run the audit again") from error
