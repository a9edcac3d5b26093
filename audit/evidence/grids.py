"""Maps and masks of some samples, read from a table of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.errors import RunError
from audit.evidence.axis import MAPS_COLUMNS, Axis, Mask, Once, Positions
from audit.parts import Rows, parts_of

Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Grids:
    """Maps and masks of some samples, on one grid.

    Attributes
    ----------
    at
        [m] places of the samples on the axis, ascending.
    mass
        [m, cells] positive part of the map, of sum 1; 0 where there is none.
    masks
        [m, regions, cells] part of each cell in each region, in the order of the configuration.
    """

    at: Positions
    mass: Grid
    masks: NDArray[np.float16]

    def rows(self, at: Positions) -> Positions:
        """Rows of samples that are among them."""
        return np.searchsorted(self.at, at)


@dataclass(frozen=True)
class Maps:
    """The table of maps; what is asked of it is read a part at a time.

    Attributes
    ----------
    table
        The maps.
    axis
        The audited samples.
    regions
        Number of the regions that each map has a mask of.
    """

    table: Rows
    axis: Axis
    regions: int

    def alive(self) -> Mask | None:
        """[n] whether a sample's map of its true class has positive mass; None without maps.

        Raises
        ------
        RunError
            If a sample is unknown or has two maps, or sizes do not agree.
        """
        once, alive = Once(self.axis.size, "its map"), np.zeros(self.axis.size, dtype=np.bool_)
        cells: set[int] = set()
        for part in self._parts():
            at = once.mark(part)
            cells |= {len(row) for row in part["map"]}
            masks = {len(row) for row in part["masks"]}
            if len(cells) > 1 or masks - {self.regions * size for size in cells}:
                raise RunError(
                    f"maps: not all of one grid with masks of {self.regions} regions; "
                    "run the audit again"
                )
            if at.size:
                alive[at] = _raw(part["map"]).max(axis=1) > 0
        return alive if cells else None

    def grids(self, wanted: Mask) -> Grids:
        """Maps and masks of some samples that have one, after :meth:`alive` found no fault."""
        taken = []
        for part in self._parts():
            some = part[wanted[part["at"].to_numpy()]]
            if len(some):
                masks = _stacked(some["masks"]).astype(np.float16, copy=False)
                taken.append((some["at"].to_numpy(np.intp), _mass(some["map"]), masks))
        if not taken:
            nothing = np.zeros((0, self.regions, 0), dtype=np.float16)
            return Grids(np.zeros(0, np.intp), np.zeros((0, 0), np.float32), nothing)
        at, mass, masks = (np.concatenate(arrays) for arrays in zip(*taken, strict=True))
        order = np.argsort(at)
        return Grids(at[order], mass[order], masks[order].reshape(len(at), self.regions, -1))

    def _parts(self) -> Iterator[pd.DataFrame]:
        for part in parts_of(self.table):
            true = part.loc[part["explained"] == "true", list(MAPS_COLUMNS)]
            yield self.axis.located(true, "maps")


def _stacked(lists: pd.Series[Any]) -> NDArray[Any]:
    return np.stack(lists.to_list())


def _raw(maps: pd.Series[Any]) -> Grid:
    return _stacked(maps).astype(np.float32, copy=False)


def _mass(maps: pd.Series[Any]) -> Grid:
    """Positive parts of maps [m, cells], each of sum 1 unless it has none."""
    raw = _raw(maps).clip(min=0)
    peak = raw.max(axis=1, keepdims=True)
    scaled = raw / np.where(peak > 0, peak, 1)  # so that no sum is too small or large
    mass: Grid = scaled / np.maximum(scaled.sum(axis=1, keepdims=True), 1)
    return mass
