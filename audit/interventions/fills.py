"""What a removed area is filled with. Each fill changes the masked pixels and no others."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

Fill = Callable[[Tensor, Tensor, list[int]], Tensor]

FILLS: dict[str, Fill] = {}

BLUR_PART_OF_SIDE = 0.08  # standard deviation of the Gaussian, as part of the shorter side


def fill(name: str, images: Tensor, masks: Tensor, seeds: list[int]) -> Tensor:
    """Pictures with the masked area filled.

    Parameters
    ----------
    name
        A registered fill.
    images
        ``[B, 3, h, w]`` float in 0..1.
    masks
        ``[B, h, w]`` bool, the area to fill.
    seeds
        One per picture, for fills that draw random numbers.
    """
    area = masks[:, None]
    return torch.where(area, FILLS[name](images, area, seeds), images)


def _registered(name: str) -> Callable[[Fill], Fill]:
    def register(function: Fill) -> Fill:
        FILLS[name] = function
        return function

    return register


@_registered("blur")
def _blur(images: Tensor, area: Tensor, seeds: list[int]) -> Tensor:
    """The picture's own low frequencies: colours stay, shapes and detail go."""
    return _blurred(images)


@_registered("local-mean")
def _local_mean(images: Tensor, area: Tensor, seeds: list[int]) -> Tensor:
    """The mean of the surroundings, weighted by nearness; nothing of the area itself remains."""
    outside = (~area).to(images.dtype)
    near_weight = _blurred(outside)
    near = _blurred(images * outside) / near_weight.clamp(min=1e-3)
    everywhere = (images * outside).sum((2, 3), keepdim=True) / outside.sum(
        (2, 3), keepdim=True
    ).clamp(min=1)
    return torch.where(near_weight > 1e-3, near, everywhere)


@_registered("noise")
def _noise(images: Tensor, area: Tensor, seeds: list[int]) -> Tensor:
    """The local mean plus white noise as strong as each channel varies outside the area."""
    noise = torch.stack([_white_noise(images.shape[1:], seed) for seed in seeds])
    outside = (~area).to(images.dtype)
    weight = outside / outside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (images * weight).sum((2, 3), keepdim=True)
    spread = ((images - mean).square() * weight).sum((2, 3), keepdim=True).sqrt()
    return (_local_mean(images, area, seeds) + spread * noise.to(images)).clamp(0, 1)


def _white_noise(shape: torch.Size, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _blurred(images: Tensor) -> Tensor:
    """Gaussian blur as two matrix products; at the border the kernel is cut and renormalised."""
    height, width = images.shape[-2:]
    sigma = BLUR_PART_OF_SIDE * min(height, width)
    return _gaussian(height, sigma).to(images) @ images @ _gaussian(width, sigma).to(images).T


@lru_cache(maxsize=16)
def _gaussian(pixels: int, sigma: float) -> Tensor:
    """Weights ``[pixels, pixels]`` of each pixel's neighbours; rows sum to 1."""
    at = torch.arange(pixels, dtype=torch.float64)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(1, keepdim=True)).float()
