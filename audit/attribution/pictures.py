"""Raw grid maps to pictures. Nothing here is for measuring."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling that keeps the centre of every cell in place.

    Parameters
    ----------
    maps
        ``[..., h, w]``.
    size
        Height and width wanted, in pixels.

    Returns
    -------
    ``[..., height, width]``.
    """
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    picture = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return picture.reshape(*maps.shape[:-2], *size)


def display(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps as pictures in 0..1: the positive part, upsampled, divided by its maximum.

    A map is divided by its maximum and never stretched from its minimum, so that a ratio of two
    values stays what it is, a constant positive map is one everywhere, and a dead map is zero.

    Parameters
    ----------
    maps
        ``[..., h, w]``, raw and signed.
    size
        Height and width of the picture.

    Returns
    -------
    ``[..., height, width]`` float32.

    Examples
    --------
    >>> display(torch.tensor([[0.5, 1.0], [-3.0, 0.0]]), (2, 2))
    tensor([[0.5000, 1.0000],
            [0.0000, 0.0000]])
    """
    picture = upsample(maps.float().clamp(min=0), size)
    peak = picture.amax((-2, -1), keepdim=True)
    return torch.where(peak > 0, picture / peak, 0.0)
