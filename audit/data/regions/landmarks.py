"""Landmarks in columns of the manifest; a region is the union of discs around its points."""

from __future__ import annotations

import math
from functools import partial
from itertools import chain

import numpy as np

from audit.config import Landmarks
from audit.data.images import Frame
from audit.data.reasons import Kind, bad
from audit.data.regions.base import Masks, RegionReader, Row, encoding
from audit.data.sources.base import Manifest
from audit.geometry import Size

Pair = tuple[str, str]  # columns of x and y
Point = tuple[float, float]


@encoding("landmarks")
def reader(config: Landmarks, manifest: Manifest) -> RegionReader:
    """Reader of x and y in pixels of the upright picture; a pixel's centre is at its index + 0.5.

    A point without coordinates is left out; without any point the region is empty.
    """
    regions = list(config.columns.values())
    columns = chain.from_iterable(chain.from_iterable(regions))
    manifest.require(list(columns), "regions.source.columns")
    return partial(_read, regions=regions, radius=config.radius)


def _read(row: Row, frame: Frame, *, regions: list[list[Pair]], radius: float) -> Masks:
    return np.stack(
        [
            _discs([_point(row[x], row[y]) for x, y in pairs], radius, frame.size)
            for pairs in regions
        ]
    )


def _discs(points: list[Point | None], radius: float, size: Size) -> Masks:
    height, width = size
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
    union = np.zeros(size, dtype=np.bool_)
    for point in points:
        if point:
            union |= (x - point[0]) ** 2 + (y - point[1]) ** 2 <= radius**2
    return union


def _point(x: str, y: str) -> Point | None:
    if not x and not y:
        return None
    try:
        point = float(x), float(y)
    except ValueError as error:
        raise bad(Kind.BAD_LANDMARK, f"not two numbers: {x!r}, {y!r}") from error
    if not all(map(math.isfinite, point)):
        raise bad(Kind.BAD_LANDMARK, f"not finite: {x!r}, {y!r}")
    return point
