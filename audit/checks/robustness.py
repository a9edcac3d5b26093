"""Adversarial pictures: the answer changes, nothing that a person sees does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audit.errors import ModelError
from audit.interventions.margins import margin_of

Forward = Callable[[Tensor], Tensor]  # pictures [B, 3, h, w] in 0..1 to logits [B, K]


def adversarial(
    forward: Forward, pictures: Tensor, classes: Tensor, epsilon: float, steps: int
) -> Tensor:
    """Pictures changed a little so that a class loses (arXiv 1610.02391, section 6.2).

    Projected gradient descent on the margin of the class, from the picture itself, by the sign of
    the gradient (Madry et al., arXiv 1706.06083; with one step, FGSM, Goodfellow et al., arXiv
    1412.6572). A step is 2.5 epsilon / steps, and no more than epsilon.

    Parameters
    ----------
    forward
        Differentiable, from pictures to logits.
    pictures
        ``[n, 3, h, w]`` in 0..1.
    classes
        ``[n]``, the class that shall lose: the one predicted.
    epsilon
        Largest change of a pixel.
    steps
        Number of steps.

    Returns
    -------
    ``[n, 3, h, w]`` in 0..1, at most epsilon away.

    Raises
    ------
    ModelError
        If the model has no gradient at the picture.
    """
    step = min(epsilon, 2.5 * epsilon / steps)
    low, high = (pictures - epsilon).clamp(min=0), (pictures + epsilon).clamp(max=1)
    changed = pictures
    for _ in range(steps):
        asked = changed.detach().clone().requires_grad_()
        with torch.enable_grad():
            margin = margin_of(forward(asked), classes).sum()
            if not margin.requires_grad:
                raise ModelError("the score has no gradient at the picture.")
            (gradient,) = torch.autograd.grad(margin, asked)
        changed = (asked.detach() - step * gradient.sign()).clamp(low, high)
    return changed
