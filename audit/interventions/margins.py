"""The margin: how far one class leads the others."""

from __future__ import annotations

from torch import Tensor


def margin_of(logits: Tensor, target: Tensor) -> Tensor:
    """Logit of a class minus the best other logit, ``[B]``.

    Parameters
    ----------
    logits
        ``[B, K]``, K at least 2.
    target
        ``[B]`` class ids (int64).

    Examples
    --------
    >>> import torch
    >>> margin_of(torch.tensor([[2.0, 5.0, 1.0]]), torch.tensor([1]))
    tensor([3.])
    """
    own = logits.gather(1, target[:, None])
    others = logits.scatter(1, target[:, None], float("-inf"))
    return own[:, 0] - others.amax(1)
