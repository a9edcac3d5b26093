"""Boxes in columns of the manifest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain

import numpy as np

from audit.config import Boxes
from audit.data.images import Frame
from audit.data.reasons import Kind, bad
from audit.data.regions.base import Masks, RegionReader, Row, encoding
from audit.data.sources.base import Manifest
from audit.geometry import Size

Box = tuple[str, str, str, str]


@encoding("boxes")
def reader(config: Boxes, manifest: Manifest) -> RegionReader:
    """Reader of left, top, right, bottom in pixels of the upright picture.

    Right and bottom are exclusive. A box without coordinates is an empty region.
    """
    boxes = list(config.columns.values())
    manifest.require(list(chain.from_iterable(boxes)), "regions.source.columns")
    return partial(_read, boxes=boxes)


def _read(row: Row, frame: Frame, *, boxes: list[Box]) -> Masks:
    return np.stack([_mask([row[column] for column in box], frame.size) for box in boxes])


def _mask(texts: Sequence[str], size: Size) -> Masks:
    if not any(texts):
        return np.zeros(size, dtype=np.bool_)
    try:
        left, top, right, bottom = map(float, texts)
    except ValueError as error:
        raise bad(Kind.BAD_BOX, f"not four numbers: {', '.join(map(repr, texts))}") from error
    return box_mask(left, top, right, bottom, size)


def box_mask(left: float, top: float, right: float, bottom: float, size: Size) -> Masks:
    """Mask ``[H, W]`` of the pixels whose centre lies in a box, clipped to the picture.

    Raises
    ------
    BadSample
        ``bad box``: not finite, inverted, or wholly outside the picture.

    Examples
    --------
    >>> box_mask(1, 0, 9, 1, (2, 3)).astype(int)
    array([[0, 1, 1],
           [0, 0, 0]])
    """
    text = f"left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}"
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise bad(Kind.BAD_BOX, f"not finite: {text}")
    if right < left or bottom < top:
        raise bad(Kind.BAD_BOX, f"inverted: {text}")
    height, width = size
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise bad(Kind.BAD_BOX, f"outside the picture of {height} x {width}: {text}")
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    mask: Masks = ((top <= y) & (y < bottom))[:, None] & ((left <= x) & (x < right))
    return mask
