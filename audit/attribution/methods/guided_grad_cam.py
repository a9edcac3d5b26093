"""Guided Grad-CAM."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.grad_cam import grad_cam
from audit.attribution.methods.registry import register
from audit.attribution.pictures import upsample


def guided_grad_cam(maps: Tensor, guided: Tensor) -> Tensor:
    """Guided backpropagation where Grad-CAM looks (arXiv 1610.02391, section 3.2).

    Parameters
    ----------
    maps
        Grad-CAM, ``[..., h, w]``, raw and signed.
    guided
        Guided backpropagation, ``[..., C, H, W]``.

    Returns
    -------
    ``guided * upsample(relu(maps))``, ``[..., C, H, W]``.

    Raises
    ------
    ValueError
        If the leading dimensions differ.
    """
    if maps.shape[:-2] != guided.shape[:-3]:
        raise ValueError(
            f"maps {list(maps.shape)} and guided {list(guided.shape)}: wanted [..., h, w] and "
            "[..., C, H, W] with the same leading dimensions"
        )
    height, width = guided.shape[-2:]
    return guided * upsample(maps.clamp(min=0), (height, width)).unsqueeze(-3)


@register("guided-grad-cam")
def _guided_grad_cam(activations: Tensor, gradients: Tensor, guided: Tensor) -> Tensor:
    return guided_grad_cam(grad_cam(activations, gradients), guided)
