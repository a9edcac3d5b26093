"""Class activation mapping."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.attribution.methods.registry import register
from audit.errors import ModelError


@register("cam")
def cam(activations: Tensor, gradients: Tensor, linear_head: bool) -> Tensor:
    """``CAM_c = sum_k W_ck A_k`` (Zhou et al., arXiv 1512.04150, equation 2).

    Defined where the head is a mean over the grid and linear layers. There ``dY_c/dA_kij = W_ck /
    Z`` everywhere, so the weights are read off the gradient: ``CAM = Z L`` with Grad-CAM's L, and
    its mean over the grid is the logit less the bias.

    Parameters
    ----------
    activations
        A, ``[B, C, h, w]``.
    gradients
        dY/dA, ``[B, K, C, h, w]``.
    linear_head
        Whether nothing but means and linear layers follows A.

    Returns
    -------
    CAM, ``[B, K, h, w]``, signed.

    Raises
    ------
    ModelError
        If the head is another.
    """
    anywhere = gradients[..., :1, :1]
    if not (linear_head and torch.allclose(gradients, anywhere.expand_as(gradients), rtol=1e-4)):
        raise ModelError(
            "cam is defined for a head of global average pooling and linear layers only; use "
            "grad-cam, which equals it there"
        )
    height, width = activations.shape[-2:]
    weights = height * width * gradients.mean((-2, -1))
    return torch.einsum("bkc,bchw->bkhw", weights, activations)
