"""HiResCAM."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.attribution.methods.registry import register


@register("hires-cam")
def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``L = sum_k dY/dA_k * A_k``, cell by cell (Draelos and Carin, arXiv 2011.08891, equation 4).

    Where the head is linear in A the sum of the map is the logit less the bias, so it shows what
    was counted where; Grad-CAM spreads the gradient's mean over the grid first. The two are equal
    for a head of global average pooling and one linear layer.

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
    return torch.einsum("bkchw,bchw->bkhw", gradients, activations)
