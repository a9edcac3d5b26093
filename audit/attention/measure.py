"""How much of an attribution map lies in a region, measured on the map's own grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MEASURABLE_CELLS = 2.0
_ROUNDING = 1e-4  # of the area of a region, in cells


@dataclass(frozen=True)
class Attention:
    """Measures of N maps on R regions; each ``[N, R]`` float32, NaN where the map is dead.

    Parameters
    ----------
    share
        Part of the map's positive mass in the region, 0 to 1.
    area
        Part of the grid's area in the region, 0 to 1 (never NaN).
    rho
        ``[s/a] / [(1-s)/(1-a)]``, the inside/outside ratio of Grad-CAM's section 8.1, with ``s``
        clipped to half a cell from 0 and 1; NaN where the region is empty or everything.
    pointing
        Credit of the map's maximum in the region, 0 to 1: the region's part of the cells that
        reach the maximum.
    dead
        ``[N]`` bool: the map has no positive mass.
    measurable
        ``[N, R]`` bool: the region covers at least two cells.
    """

    share: Tensor
    area: Tensor
    rho: Tensor
    pointing: Tensor
    dead: Tensor
    measurable: Tensor


def measure(maps: Tensor, masks: Tensor) -> Attention:
    """Attention of maps on regions.

    Parameters
    ----------
    maps
        Raw signed maps ``[N, h, w]``; only their positive part counts.
    masks
        Regions pooled to the same grid, ``[N, R, h, w]``, each value in 0..1.

    Raises
    ------
    ValueError
        If the shapes do not agree, or a map is not finite (it is not dead, and has no share).

    Examples
    --------
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -5.0]]])
    >>> left = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    >>> measure(maps, left).share
    tensor([[0.7500]])
    """
    if maps.ndim != 3 or masks.ndim != 4 or masks.shape[::2] != (maps.shape[0], maps.shape[1]):
        raise ValueError(
            f"maps {tuple(maps.shape)} [N,h,w] and masks {tuple(masks.shape)} [N,R,h,w]"
        )
    raw = maps.float().flatten(1)
    broken = int((~raw.isfinite()).any(1).sum())
    if broken:
        raise ValueError(f"{broken} of {len(maps)} maps is not finite in float32")
    positive = raw.clamp(min=0)
    regions = masks.float().flatten(2)
    cells = positive.shape[1]

    peak = positive.amax(1, keepdim=True)
    dead = peak == 0
    missing = torch.where(dead, torch.nan, 0.0)
    area = regions.mean(2)
    scaled = positive / torch.where(dead, 1.0, peak)  # so that no sum is too small or large
    mass = torch.where(dead, 1.0, scaled.sum(1, keepdim=True))
    share = torch.einsum("nc,nrc->nr", scaled, regions) / mass + missing

    peaks = (positive == peak).float()
    pointing = torch.einsum("nc,nrc->nr", peaks, regions) / peaks.sum(1, keepdim=True) + missing
    return Attention(
        share=share,
        area=area,
        rho=inside_outside_ratio(share, area, cells),
        pointing=pointing,
        dead=dead[:, 0],
        measurable=regions.sum(2) >= MEASURABLE_CELLS - _ROUNDING,
    )


def inside_outside_ratio(share: Tensor, area: Tensor, cells: int) -> Tensor:
    """``rho = [s/a] / [(1-s)/(1-a)]`` with ``s`` clipped to half a cell; NaN where undefined."""
    half_cell = 1 / (2 * cells)
    inside = share.clamp(half_cell, 1 - half_cell)
    ratio = (inside / area) / ((1 - inside) / (1 - area))
    return torch.where((area > 0) & (area < 1), ratio, torch.nan)
