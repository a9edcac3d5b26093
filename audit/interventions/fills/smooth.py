"""The Gaussian that fills smooth with."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

BLUR_PART_OF_SIDE = 0.08  # standard deviation of the Gaussian, as part of the shorter side


def blurred(images: Tensor) -> Tensor:
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
