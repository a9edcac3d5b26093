"""The registry of placebos: where the same act is done on an equal area elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Placebo = Callable[[Mask, Mask, int], Mask | None]

SIMILAR_PART = 10  # one in so many places counts as lying at a similar distance

PLACEBOS: dict[str, Placebo] = {}


P = TypeVar("P", bound=Placebo)


def register(name: str) -> Callable[[P], P]:
    """Register the decorated function as the placebo of this name; see :func:`placebo_mask`."""

    def add(place: P) -> P:
        PLACEBOS[name] = place
        return place

    return add


def placebo_mask(name: str, region: Mask, avoid: Mask, seed: int) -> Mask | None:
    """An area as large as the region, elsewhere, at a similar distance from the centre.

    Parameters
    ----------
    name
        A registered placebo.
    region
        ``[h, w]`` bool, the area removed.
    avoid
        ``[h, w]`` bool, what the placebo must not touch besides the region (core and whatever
        else is under suspicion).
    seed
        Of the random choice.

    Returns
    -------
    ``[h, w]`` bool with as many pixels as the region, or None where no such area fits or the
    region is empty.
    """
    size = int(np.count_nonzero(region))
    room = int(np.count_nonzero(~(region | avoid)))
    return PLACEBOS[name](region, avoid, seed) if 0 < size <= room else None


@lru_cache(maxsize=16)
def centre_distance(shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Distance of each pixel from the picture's centre, in pixels."""
    height, width = shape
    rows, columns = np.indices(shape)
    distance: npt.NDArray[np.float64] = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    distance.flags.writeable = False
    return distance


def pick_similar(off: npt.NDArray[np.float64], at_least: int, seed: int) -> int:
    """One of the places that are least off, at random: a tenth of them or ``at_least`` so many."""
    count = min(max(at_least, len(off) // SIMILAR_PART), len(off))
    similar = np.flatnonzero(off <= np.partition(off, count - 1)[count - 1])
    return int(similar[np.random.default_rng(seed).integers(len(similar))])
