"""Gradient-weighted class activation mapping."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.attribution.methods.registry import register


@register("grad-cam")
def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM before its ReLU (arXiv 1610.02391, equations 1 and 2).

    ``alpha_k = 1/Z sum_ij dY/dA_kij`` and ``L = sum_k alpha_k A_k``; the paper's map is
    ``relu(L)``. For a head of global average pooling and one linear layer ``L = CAM / Z``.

    Parameters
    ----------
    activations
        A, ``[B, C, h, w]``.
    gradients
        dY/dA, ``[B, K, C, h, w]``.

    Returns
    -------
    L, ``[B, K, h, w]``, signed.
    """
    alpha = gradients.mean((-2, -1))
    return torch.einsum("bkc,bchw->bkhw", alpha, activations)
