"""The Gaussian that fills smooth with."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

BLUR_PART_OF_SIDE = 0.08  # standard deviation of the Gaussian, as part of the shorter side
NEGLIGIBLE = 1e-7  # singular values below change no float32


def blurred(images: Tensor) -> Tensor:
    """Gaussian blur along both sides; at the border the kernel is cut and renormalised.

    A blur this wide keeps few frequencies: pictures go through some 26 numbers a line, whatever
    their size.
    """
    height, width = images.shape[-2:]
    sigma = BLUR_PART_OF_SIDE * min(height, width)
    up, down = _gaussian(height, sigma, images.dtype, images.device)
    out, into = _gaussian(width, sigma, images.dtype, images.device)
    return (up @ (down @ (images @ into.T))) @ out.T


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept must do for a caller who goes back through it too
def _gaussian(
    pixels: int, sigma: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factors ``[pixels, r]``, ``[r, pixels]`` of the weights of each pixel's neighbours.

    The rows of their product sum to 1. They are computed in float64.
    """
    at = torch.arange(pixels, dtype=torch.float64)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    left, values, right = torch.linalg.svd(weights / weights.sum(1, keepdim=True))
    rank = int((values > NEGLIGIBLE).sum())
    factors = left[:, :rank] * values[:rank], right[:rank]
    return factors[0].to(device, dtype), factors[1].to(device, dtype)
