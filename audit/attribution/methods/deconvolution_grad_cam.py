"""Deconvolution Grad-CAM."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.grad_cam import grad_cam
from audit.attribution.methods.guided_grad_cam import guided_grad_cam
from audit.attribution.methods.registry import register


@register("deconvolution-grad-cam")
def deconvolution_grad_cam(activations: Tensor, gradients: Tensor, deconvolved: Tensor) -> Tensor:
    """Deconvolution where Grad-CAM looks (arXiv 1610.02391, section 3.2, and figure A2).

    Parameters
    ----------
    activations
        A, ``[B, C, h, w]``.
    gradients
        dY/dA, ``[B, K, C, h, w]``.
    deconvolved
        ``[B, K, C, H, W]``.

    Returns
    -------
    ``deconvolved * upsample(relu(L))``, ``[B, K, C, H, W]``.
    """
    return guided_grad_cam(grad_cam(activations, gradients), deconvolved)
