"""Fill with the mean of the surroundings."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.interventions.fills.registry import register
from audit.interventions.fills.smooth import blurred


@register("local-mean")
def local_mean(images: Tensor, area: Tensor, seeds: list[int]) -> Tensor:
    """The mean of the surroundings, weighted by nearness; nothing of the area itself remains."""
    outside = (~area).to(images.dtype)
    near_weight = blurred(outside)
    near = blurred(images * outside) / near_weight.clamp(min=1e-3)
    everywhere = (images * outside).sum((2, 3), keepdim=True) / outside.sum(
        (2, 3), keepdim=True
    ).clamp(min=1)
    return torch.where(near_weight > 1e-3, near, everywhere)
