"""Excitation backpropagation: winning probabilities sent back from a score to a layer.

Zhang et al., "Top-down neural attention by excitation backprop", arXiv 1608.00507, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from audit.attribution.graph import nodes_behind, nodes_between, operation
from audit.attribution.rectifiers import hooked, is_rectifier
from audit.errors import ModelError

Product = Callable[[Tensor], Tensor]

_MOVES = {  # what moves units about, or picks the largest
    *("AccumulateGrad", "Alias", "AsStrided", "Clone", "Gather", "Index", "Permute"),
    *("ReshapeAlias", "Select", "Slice", "Squeeze", "T", "ToCopy", "Transpose", "UnsafeView"),
    *("Unsqueeze", "View", "AdaptiveMaxPool2D", "MaxPool2DWithIndices"),
}
_SUMS = {"Add", "Neg", "Sub"}  # of logits
_REMEDY = (
    "c-mwp is defined for linear layers, convolutions, pools and ReLUs between the layer and the "
    "score: {}; choose a later layer, or use grad-cam"
)


class Excitations(TorchFunctionMode):
    """While this lasts, what is linear remembers how to send probabilities back.

    Layers with weights and average pools give the same numbers as ever, but leave the rule of
    excitation backpropagation in the graph instead of their gradient. What does not depend on a
    leaf that wants gradients is left alone.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = _RULES.get(func)
        found = rule(func, *args, **kwargs) if rule else None
        if found is None or not torch.is_grad_enabled() or not found[0].requires_grad:
            return func(*args, **kwargs)
        units, exciting, inhibiting = found
        with torch.no_grad():
            output = func(*args, **kwargs)
        return _Excitation.apply(units, [output], exciting, inhibiting)


Found = tuple[Tensor, Product, Product | None]


def _layer(
    func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Found | None:
    """A linear layer or convolution, by its positive and by its negated negative weights."""
    if weight.requires_grad:
        return None

    def product(sign: int, units: Tensor) -> Tensor:
        weights = (sign * weight.detach()).clamp(min=0).to(units.dtype)
        result: Tensor = func(units, weights, None, *args, **kwargs)
        return result

    return input, partial(product, 1), partial(product, -1)


def _pool(func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Found:
    """A mean, whose weights are all positive."""
    return input, lambda units: func(units, *args, **kwargs), None


_RULES: dict[Any, Callable[..., Found | None]] = {
    **dict.fromkeys((F.linear, F.conv2d), _layer),
    **dict.fromkeys((F.avg_pool2d, F.adaptive_avg_pool2d, torch.mean, Tensor.mean), _pool),
}


class _Excitation(torch.autograd.Function):
    """A linear layer; backwards its rule (equation 5) instead of its gradient."""

    @staticmethod
    def forward(
        ctx: Any, units: Tensor, output: list[Tensor], exciting: Product, inhibiting: Product | None
    ) -> Tensor:
        ctx.save_for_backward(units)
        ctx.exciting, ctx.inhibiting, ctx.contrasts = exciting, inhibiting, False
        return output[0]  # boxed, since a view of an argument could not be written to in place

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (units,), (winning,) = ctx.saved_tensors, grads
        precise = torch.promote_types(units.dtype, torch.float32)
        units = units.to(precise)
        with torch.autocast(units.device.type, enabled=False):
            sent = _marginal(units, winning.to(precise), ctx.exciting)
            if ctx.contrasts:
                sent = sent - _marginal(units, winning.to(precise), ctx.inhibiting)
        return sent, None, None, None


def _marginal(units: Tensor, winning: Tensor, product: Product) -> Tensor:
    """``P(a_i) = a_i sum_j w_ji P(a_j) / sum_k a_k w_jk`` (equation 5), w not negative."""
    with torch.enable_grad():
        leaf = units.detach().requires_grad_()
        total = product(leaf)
        share = torch.where(total > 0, winning / total, 0.0).detach()
        (spread,) = torch.autograd.grad(total, leaf, share)
    return units * spread


@contextmanager
def contrastive(score: Tensor, leaf: Tensor) -> Iterator[None]:
    """While this lasts, going back from the score sends contrastive probabilities to the leaf.

    At the last layer with weights the probabilities of the dual unit, whose weights are the
    negative ones, are subtracted (section 3.3). What follows is linear in them.

    Parameters
    ----------
    score
        Made under :class:`Excitations`, with its graph.
    leaf
        Not negative; where it ends.

    Raises
    ------
    ModelError
        If the rule is not defined for what lies between them.
    """
    live = nodes_between(score, leaf)
    behind = nodes_behind(score.grad_fn, through=lambda node: not _has_weights(node))
    above = live.intersection(behind)
    last = [node for node in above if _has_weights(node)]
    rectifiers = [node for node in live if is_rectifier(node)]
    excitations = [node for node in live if _is_excitation(node)]
    known = {*rectifiers, *excitations}
    odd = {
        operation(node)
        for node in live.difference(known)
        if operation(node) not in (_MOVES | _SUMS if node in above else _MOVES)
    }
    nested = any(last_node in nodes_behind(node)[1:] for node in last for last_node in last)
    if nested:
        raise ModelError(_REMEDY.format("its last layers with weights follow each other"))
    if odd or not last:
        raise ModelError(
            _REMEDY.format(f"it holds {', '.join(sorted(odd))}" if odd else "it has no such layer")
        )
    if any(bool((node.saved_tensors[0] < 0).any()) for node in excitations):  # type: ignore[attr-defined]
        raise ModelError(_REMEDY.format("it holds activations below 0"))
    for node in last:
        node.contrasts = True  # type: ignore[attr-defined]
    with hooked(rectifiers, _passed_through):
        yield


def _passed_through(
    grad_inputs: tuple[Tensor | None, ...], grad_outputs: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """A ReLU has one unit below each, which wins what that has won."""
    return (grad_outputs[0], *grad_inputs[1:])


def _is_excitation(node: Node) -> bool:
    return isinstance(node, BackwardCFunction) and hasattr(node, "exciting")


def _has_weights(node: Node) -> bool:
    return getattr(node, "inhibiting", None) is not None
