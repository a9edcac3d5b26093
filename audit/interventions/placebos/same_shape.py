"""A placebo of the region's own shape, where it fits."""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate

from audit.interventions.placebos.compact import compact
from audit.interventions.placebos.registry import Mask, centre_distance, pick_similar, register


@register("same-shape")
def same_shape(region: Mask, avoid: Mask, seed: int) -> Mask:
    """The region moved to a random place at a similar mean distance from the picture's centre.

    A filled area has an outline, and a model may answer to that (missingness bias, arXiv
    2204.08945); here act and placebo have the same one. Where the region cannot be moved without
    touching itself or what is to be avoided, the placebo is ``compact``.
    """
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    shape = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    distance = centre_distance(region.shape)
    touched, summed = (
        correlate(field.astype(np.float64), shape.astype(np.float64), mode="valid")
        for field in (region | avoid, distance)
    )
    fits = np.flatnonzero(touched < 0.5)
    if len(fits) == 0:
        return compact(region, avoid, seed)
    off = np.abs(summed.ravel()[fits] / np.count_nonzero(shape) - distance[region].mean())
    top, left = divmod(int(fits[pick_similar(off, 1, seed)]), touched.shape[1])
    placebo = np.zeros_like(region)
    placebo[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return placebo
