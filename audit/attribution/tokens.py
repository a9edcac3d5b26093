"""Backward passes that leave out the tokens a score does not depend on.

The score of a vision transformer mostly depends on its class token alone. What is sent back through
the linear layers of its last block is then zero for every other token, until the attention mixes
them; these layers are two thirds of the block.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class TokensSkipped(TorchFunctionMode):
    """While this lasts, frozen linear layers on ``[B, tokens, C]`` send back no rows of zeros.

    Their outputs and gradients are the same as ever.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and torch.is_grad_enabled() and _skippable(*args, **kwargs):
            return Linear.apply(*_in_order(*args, **kwargs))
        return func(*args, **kwargs)


def _skippable(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
    plain = type(input) is Tensor and type(weight) in (Tensor, nn.Parameter)
    return plain and frozen and input.ndim == 3 and input.requires_grad


def _in_order(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    return input, weight, bias


class Linear(torch.autograd.Function):
    """A linear layer with frozen weights; backwards only through tokens with a gradient."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Output ``[B, tokens, out]`` of an input ``[B, tokens, in]``."""
        # Not saved for backward: a checkpoint, which counts what is saved, must notice.
        ctx.weight, ctx.dtype = weight, input.dtype
        return F.linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Gradient in the input; None for the weights."""
        (grad,) = grads
        weight = ctx.weight.to(grad.dtype)
        needed = grad.ne(0).any(2).any(0)  # NaN is not 0
        if 2 * int(needed.sum()) > len(needed):
            return (grad @ weight).to(ctx.dtype), None, None
        sent = grad.new_zeros(*grad.shape[:2], weight.shape[1], dtype=ctx.dtype)
        sent[:, needed] = (grad[:, needed] @ weight).to(ctx.dtype)
        return sent, None, None
