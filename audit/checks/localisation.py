"""Localisation of what the class is about by what the map marks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from audit.attribution import display
from audit.checks.ranks import Floats

MARKED = 0.15  # of the map's maximum (arXiv 1610.02391, section 4.1)
FOUND = 0.5  # overlap of two boxes that counts as found

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]  # top, left, bottom, right; bottom and right exclusive


def localisation(maps: Tensor, core: Tensor) -> tuple[Floats, Floats]:
    """Error of the box, and overlap of the marked area, for every sample.

    The map is enlarged to the picture; what reaches 15 % of its maximum is marked; the box is that
    of the largest connected part (by edges) of it. It is an error where this box and core's
    overlap by less than a half (intersection over union).

    Parameters
    ----------
    maps
        ``[n, h, w]``, raw and signed.
    core
        ``[n, H, W]``, coverage of the picture's pixels; a pixel is core's from a half on.

    Returns
    -------
    Errors ``[n]`` (0 or 1) and intersection over union of the marked area with core ``[n]`` (0 to
    1); both NaN where the map is dead or there is no core.
    """
    marked = (display(maps, (core.shape[-2], core.shape[-1])) >= MARKED).cpu().numpy()
    inside = (core >= 0.5).cpu().numpy()
    errors, overlaps = np.full((2, len(marked)), np.nan)
    for i, (area, truth) in enumerate(zip(marked, inside, strict=True)):
        if area.any() and truth.any():
            overlap = box_overlap(box_of(largest_part(area)), box_of(truth))
            errors[i] = float(overlap < FOUND)
            overlaps[i] = (area & truth).sum() / (area | truth).sum()
    return errors, overlaps


def largest_part(mask: Mask) -> Mask:
    """The largest part of a mask whose pixels are connected by their edges; of equals the first."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest: Mask = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return largest


def box_of(mask: Mask) -> Box:
    """The smallest box around a mask that is not empty.

    >>> box_of(np.array([[False, False], [False, True]]))
    (1, 1, 2, 2)
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def box_overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes.

    >>> box_overlap((0, 0, 2, 2), (0, 1, 2, 3))
    0.3333333333333333
    """
    height = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    width = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return height * width / (areas - height * width)
