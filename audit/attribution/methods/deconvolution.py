"""Deconvolution."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.registry import register


@register("deconvolution")
def deconvolution(deconvolved: Tensor) -> Tensor:
    """Gradient of the score in the image, each ReLU passing back what is positive.

    At a ReLU the backward signal ``R`` becomes ``R * [R > 0]``, whether the ReLU was open or not
    (Zeiler and Fergus, arXiv 1311.2901): see :func:`audit.attribution.rectifiers.deconvolved`.
    For the eye, as guided backpropagation is.

    Parameters
    ----------
    deconvolved
        ``[B, K, C, H, W]``.

    Returns
    -------
    The same.
    """
    return deconvolved
