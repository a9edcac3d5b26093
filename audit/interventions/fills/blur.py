"""Fill with the picture's own low frequencies."""

from __future__ import annotations

from torch import Tensor

from audit.interventions.fills.registry import register
from audit.interventions.fills.smooth import blurred


@register("blur", keeps_colours=True)
def blur(images: Tensor, area: Tensor, seeds: list[int]) -> Tensor:
    """The picture's own low frequencies: colours stay, shapes and detail go."""
    return blurred(images)
