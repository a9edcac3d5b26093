"""Maps made comparable, and the weights that average them: every cluster counts the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]

SURROUNDINGS = 2.0  # a crop is as many times as high and wide as the region's box
_ROUNDING = 1e-6  # in cells: a place on the edge of the picture lies in it


def densities(maps: NDArray[np.floating]) -> Floats:
    """Attention per area of maps ``[n, h, w]``: 1 is an even spread; 0 all over a dead map.

    That is each map's positive part, normalised to sum 1, times the number of its places.

    Examples
    --------
    >>> densities(np.array([[[3.0, 1.0], [0.0, -5.0]]]))
    array([[[3., 1.],
            [0., 0.]]])
    """
    positive = np.clip(maps.astype(np.float64), 0, None)
    peak = positive.max((1, 2), keepdims=True)
    scaled = positive / np.where(peak > 0, peak, 1)  # so that no sum is too small or large
    mean = scaled.mean((1, 2), keepdims=True)
    density: Floats = scaled / np.where(mean > 0, mean, 1)
    return density


def boxes(masks: NDArray[np.floating]) -> Floats:
    """Box of each region: the rectangle with its centre and spread.

    Cells of a grid are coarse: a box of all cells that a region touches would jump by whole ones.
    Of a rectangle of full cells this box is the rectangle.

    Parameters
    ----------
    masks
        ``[n, h, w]``, coverage of each cell, none of them empty.

    Returns
    -------
    ``[n, 2, 2]``, (rows, columns) x (start, end), in cells.

    Examples
    --------
    >>> boxes(np.array([[[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]])).round(6)
    array([[[0., 2.],
            [1., 3.]]])
    """
    found = []
    for other in (2, 1):
        profile = masks.astype(np.float64).sum(other)
        profile /= profile.sum(1, keepdims=True)
        middles = np.arange(profile.shape[1]) + 0.5
        centre = profile @ middles
        within_a_cell = 1 / 12
        variance = (profile * (middles - centre[:, None]) ** 2).sum(1) + within_a_cell
        half = np.sqrt(3 * variance)
        found.append(np.stack([centre - half, centre + half], -1))
    return np.stack(found, 1)


def crops(maps: Floats, around: Floats, side: int) -> tuple[Floats, Flags]:
    """Maps around boxes, on one frame in which all boxes are the same square in the middle.

    Parameters
    ----------
    maps
        ``[n, h, w]``.
    around
        Their boxes, ``[n, 2, 2]``.
    side
        Places per side of the frame, which is ``SURROUNDINGS`` times the box.

    Returns
    -------
    Values ``[n, side, side]``, bilinear between the middles of the cells, and which of the places
    lie in the picture; the others are 0.
    """
    start, length = around[..., :1], np.diff(around, axis=-1)
    places = SURROUNDINGS * (np.arange(side) + 0.5) / side - (SURROUNDINGS - 1) / 2
    at = start + length * places
    height, width = maps.shape[1:]
    rows, columns = _interpolation(at[:, 0], height), _interpolation(at[:, 1], width)
    within = (at >= -_ROUNDING) & (at <= np.array([height, width])[:, None] + _ROUNDING)
    inside = within[:, 0, :, None] & within[:, 1, None, :]
    values: Floats = (rows @ maps @ columns.transpose(0, 2, 1)) * inside
    return values, inside


def _interpolation(at: Floats, count: int) -> Floats:
    """Linear weights ``[n, side, count]`` of cells at places ``[n, side]``; constant outside."""
    middles = np.arange(count) + 0.5
    distance = np.abs(np.clip(at, middles[0], middles[-1])[..., None] - middles)
    weights: Floats = np.clip(1 - distance, 0, None)
    return weights


def equal_clusters(groups: Codes, clusters: Codes) -> Floats:
    """Weight of each sample: 1 over the number of its cluster's samples in its group.

    Examples
    --------
    >>> equal_clusters(np.array([0, 0, 0, 1]), np.array([7, 7, 8, 7]))
    array([0.5, 0.5, 1. , 1. ])
    """
    pairs = np.stack([groups, clusters])
    _, place, size = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    weights: Floats = 1 / size[place.reshape(-1)]
    return weights
