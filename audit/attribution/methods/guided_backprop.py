"""Guided backpropagation."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.registry import register


@register("guided-backprop")
def guided_backprop(guided: Tensor) -> Tensor:
    """Gradient of the score in the image, only its positive part passing each ReLU.

    At a ReLU ``f = relu(x)`` the backward signal ``R`` becomes ``R * [R > 0] * [x > 0]``
    (arXiv 1412.6806, section 3.4). It is done while going back: see
    :func:`audit.attribution.rectifiers.guided`.

    It shows fine detail for the eye but is hardly sensitive to the model's weights (arXiv
    1810.03292): it is no evidence of what a model relies on.

    Parameters
    ----------
    guided
        ``[B, K, C, H, W]``.

    Returns
    -------
    The same.
    """
    return guided
