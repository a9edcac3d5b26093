"""The plain gradient."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.registry import register


@register("gradient")
def gradient(gradient: Tensor) -> Tensor:
    """Gradient of the score in the image (Simonyan et al., arXiv 1312.6034, section 3).

    Parameters
    ----------
    gradient
        dY/dI, ``[B, K, C, H, W]``.

    Returns
    -------
    The same.
    """
    return gradient
