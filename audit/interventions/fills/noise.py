"""Fill with noise around the mean of the surroundings."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.interventions.fills.local_mean import local_mean
from audit.interventions.fills.registry import register


@register("noise")
def noise(images: Tensor, area: Tensor, seeds: list[int]) -> Tensor:
    """The local mean plus white noise as strong as each channel varies outside the area."""
    drawn = torch.stack([_white_noise(images.shape[1:], seed) for seed in seeds])
    outside = (~area).to(images.dtype)
    weight = outside / outside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (images * weight).sum((2, 3), keepdim=True)
    spread = ((images - mean).square() * weight).sum((2, 3), keepdim=True).sqrt()
    return (local_mean(images, area, seeds) + spread * drawn.to(images)).clamp(0, 1)


def _white_noise(shape: torch.Size, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
