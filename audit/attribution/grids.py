"""Where in a layer's output the channels are, and where the grid of positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

MAX_PREFIX = 8  # class, distillation and register tokens before the patches


@dataclass(frozen=True)
class Grid:
    """A view of a layer's output as ``[..., C, h, w]``.

    Parameters
    ----------
    layout
        ``channels-first`` ``[..., C, h, w]``, ``channels-last`` ``[..., h, w, C]``, or ``tokens``
        ``[..., prefix + h * w, C]``.
    height, width
        Of the grid, in cells.
    prefix
        Tokens before those of the grid.
    """

    layout: Literal["channels-first", "channels-last", "tokens"]
    height: int
    width: int
    prefix: int = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor as ``[..., C, h, w]``."""
        if self.layout == "channels-first":
            return tensor
        if self.layout == "tokens":
            patches = tensor[..., self.prefix :, :]
            tensor = patches.reshape(*patches.shape[:-2], self.height, self.width, -1)
        return tensor.movedim(-1, -3)


def infer_grid(shape: tuple[int, ...], image: tuple[int, int]) -> Grid | None:
    """The grid of a layer's output, from its shape and the size of the image; None if none.

    Of the two four-dimensional layouts it is the one whose grid has the proportions of the image,
    channels first if both have. A token layout is the finest grid of whole square patches that
    leaves at most ``MAX_PREFIX`` tokens over.

    Parameters
    ----------
    shape
        Of the layer's output, batch first.
    image
        Height and width of the image.

    Examples
    --------
    >>> infer_grid((8, 512, 7, 7), (224, 224))
    Grid(layout='channels-first', height=7, width=7, prefix=0)
    >>> infer_grid((8, 7, 14, 768), (224, 448))
    Grid(layout='channels-last', height=7, width=14, prefix=0)
    >>> infer_grid((8, 197, 768), (224, 224))
    Grid(layout='tokens', height=14, width=14, prefix=1)
    """
    if len(shape) == 4:
        _, a, b, c = shape
        if _distortion(b, c, image) <= _distortion(a, b, image):
            return Grid("channels-first", b, c)
        return Grid("channels-last", a, b)
    if len(shape) == 3:
        return _token_grid(shape[1], image)
    return None


def _distortion(height: int, width: int, image: tuple[int, int]) -> float:
    """How far a grid is from the proportions of the image; 0 if they are the same."""
    return abs(math.log(height * image[1] / (width * image[0])))


def _token_grid(tokens: int, image: tuple[int, int]) -> Grid | None:
    largest = math.gcd(*image)
    for patch in (p for p in range(1, largest + 1) if largest % p == 0):
        height, width = image[0] // patch, image[1] // patch
        if 1 < height * width <= tokens:
            prefix = tokens - height * width
            return Grid("tokens", height, width, prefix) if prefix <= MAX_PREFIX else None
    return None
