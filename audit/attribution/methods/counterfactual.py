"""Counterfactual explanations: where the evidence against the class is."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.grad_cam import grad_cam
from audit.attribution.methods.registry import register


@register("counterfactual")
def counterfactual(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM with the gradient negated (arXiv 1610.02391, section 3.3).

    ``alpha_k = 1/Z sum_ij -dY/dA_kij``, so that the map is ``-L``: positive where more activation
    would lower the score.

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
    return grad_cam(activations, -gradients)
