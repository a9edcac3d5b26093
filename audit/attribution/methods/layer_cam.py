"""LayerCAM."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.attribution.methods.registry import register


@register("layer-cam")
def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``L = sum_k relu(dY/dA_k) * A_k``, cell by cell (Jiang et al., IEEE TIP 30 (2021), eq. 6).

    Made for shallow layers, where a channel's gradient differs from place to place.

    Parameters
    ----------
    activations
        A, ``[B, C, h, w]``.
    gradients
        dY/dA, ``[B, K, C, h, w]``.

    Returns
    -------
    ``[B, K, h, w]``, signed.
    """
    return torch.einsum("bkchw,bchw->bkhw", gradients.clamp(min=0), activations)
