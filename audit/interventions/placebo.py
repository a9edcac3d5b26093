"""The placebo: the same act on an equal area elsewhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def placebo_mask(region: Mask, avoid: Mask, seed: int) -> Mask | None:
    """An area as large as the region, elsewhere, at a similar distance from the centre.

    It grows around a random free pixel whose distance from the picture's centre is close to the
    region's mean distance, by taking the nearest free pixels: as compact as the room allows.

    Parameters
    ----------
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
    size = int(region.sum())
    free = ~(region | avoid)
    if size == 0 or int(free.sum()) < size:
        return None
    rows, columns = np.nonzero(free)
    height, width = region.shape
    distance = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    region_rows, region_columns = np.nonzero(region)
    wanted = np.hypot(region_rows - (height - 1) / 2, region_columns - (width - 1) / 2).mean()

    off = np.abs(distance - wanted)
    similar = np.flatnonzero(off <= np.sort(off)[max(size, len(off) // 10) - 1])
    origin = similar[np.random.default_rng(seed).integers(len(similar))]
    from_origin = np.hypot(rows - rows[origin], columns - columns[origin])
    taken = np.argsort(from_origin, kind="stable")[:size]
    placebo = np.zeros_like(region)
    placebo[rows[taken], columns[taken]] = True
    return placebo
