"""A placebo of any shape: as compact as the room allows."""

from __future__ import annotations

import numpy as np

from audit.interventions.placebos.registry import Mask, centre_distance, pick_similar, register


@register("compact")
def compact(region: Mask, avoid: Mask, seed: int) -> Mask:
    """The free pixels nearest to a random one at a similar distance from the picture's centre."""
    size = int(np.count_nonzero(region))
    free = np.flatnonzero(~(region | avoid))
    distance = centre_distance(region.shape)
    off = np.abs(distance.ravel()[free] - distance[region].mean())
    row, column = divmod(int(free[pick_similar(off, size, seed)]), region.shape[1])
    rows, columns = (np.arange(n) for n in region.shape)
    squared = ((rows[:, None] - row) ** 2 + (columns - column) ** 2).ravel()[free]
    # The nearest by counting squared distances, which are small integers; ties in reading order.
    reach = int(np.searchsorted(np.cumsum(np.bincount(squared)), size))
    nearer, last = np.flatnonzero(squared < reach), np.flatnonzero(squared == reach)
    placebo = np.zeros(region.size, dtype=bool)
    placebo[free[nearer]] = placebo[free[last[: size - len(nearer)]]] = True
    return placebo.reshape(region.shape)
