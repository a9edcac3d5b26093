"""The one contract between picture, mask, crop and grid.

A picture is ``[H, W]`` pixels. The model sees a rectangle of it (``View.box``), resized to
``View.size``. Masks go the same way, by exact fractional areas: a value of a coverage is the part
of that model pixel (or grid cell) which lies in the region.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import sparse
from torch import Tensor

from audit.config import Input

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """What the model sees of a picture.

    Parameters
    ----------
    source
        Height and width of the picture.
    box
        Top, left, bottom, right of the visible rectangle, in (fractional) pixels of the picture.
    size
        Height and width of the model's input.
    """

    source: Size
    box: tuple[float, float, float, float]
    size: Size


def view_of(source: Size, config: Input) -> View:
    """The view that the configuration prescribes for a picture of this size.

    ``stretch`` shows the whole picture. ``crop`` resizes the shorter side to ``shorter_side`` and
    cuts ``size`` out of the centre.

    Examples
    --------
    >>> view_of((100, 200), Input(size=(50, 50), resize="crop")).box
    (0.0, 50.0, 100.0, 150.0)
    """
    height, width = source
    if config.resize == "stretch":
        return View(source, (0.0, 0.0, float(height), float(width)), config.size)
    shorter = config.shorter_side or max(config.size)
    # Multiplied first: rounded the other way, the box may reach out of the picture.
    visible_height, visible_width = (side * min(height, width) / shorter for side in config.size)
    top, left = (height - visible_height) / 2, (width - visible_width) / 2
    return View(source, (top, left, top + visible_height, left + visible_width), config.size)


def picture_to_input(picture: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.uint8]:
    """The model's input ``[h, w, 3]`` out of a picture ``[H, W, 3]``: bilinear, antialiased."""
    top, left, bottom, right = view.box
    image = Image.fromarray(picture)
    resized = image.resize(
        (view.size[1], view.size[0]), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    return np.asarray(resized)


def masks_to_input(masks: npt.NDArray[np.bool_], view: View) -> npt.NDArray[np.float32]:
    """Coverage ``[R, h, w]`` of the model's pixels by masks ``[R, H, W]`` (bool)."""
    (regions, *_), (height, width) = masks.shape, view.source
    top, left, bottom, right = view.box
    rows = _sparse_weights(height, top, bottom, view.size[0])
    columns = _sparse_weights(width, left, right, view.size[1])
    by_row = rows @ masks.swapaxes(0, 1).reshape(height, -1)  # [h, R * W]
    by_column = columns @ by_row.reshape(-1, width).T  # [w, h * R]
    coverage = by_column.reshape(view.size[1], view.size[0], regions).transpose(2, 1, 0)
    return np.ascontiguousarray(coverage)


def coverage_to_grid(coverage: Tensor, grid: Size) -> Tensor:
    """Coverage ``[..., h, w]`` of pixels pooled to the cells of a grid ``[..., gh, gw]``."""
    height, width = coverage.shape[-2:]
    if (height, width) == grid:
        return coverage
    rows = _grid_weights(height, grid[0]).to(coverage)
    columns = _grid_weights(width, grid[1]).to(coverage)
    return rows @ coverage @ columns.T


def area_weights(pixels: int, start: float, stop: float, bins: int) -> npt.NDArray[np.float32]:
    """Part of each of ``bins`` equal bins of ``[start, stop]`` covered by each pixel.

    Returns
    -------
    ``[bins, pixels]`` float32; every row sums to 1 where ``[start, stop]`` lies in the picture.

    Examples
    --------
    >>> area_weights(3, 0.0, 3.0, 2)
    array([[0.6666667 , 0.33333334, 0.        ],
           [0.        , 0.33333334, 0.6666667 ]], dtype=float32)
    """
    edges = np.linspace(start, stop, bins + 1)
    pixel = np.arange(pixels)
    upper = np.minimum(edges[1:, None], pixel + 1)
    lower = np.maximum(edges[:-1, None], pixel)
    covered = np.clip(upper - lower, 0, None) / ((stop - start) / bins)
    weights: npt.NDArray[np.float32] = covered.astype(np.float32)
    return weights


def _grid_weights(pixels: int, cells: int) -> Tensor:
    return torch.from_numpy(area_weights(pixels, 0.0, float(pixels), cells))


# Sparse: a pixel meets few bins, and unlike a dense product this one starts no threads of its own
# (decoding threads that do so fight for the cores).
@lru_cache(maxsize=64)
def _sparse_weights(pixels: int, start: float, stop: float, bins: int) -> sparse.csr_array:
    return sparse.csr_array(area_weights(pixels, start, stop, bins))
