"""Models that end in probabilities: explained by what goes into them, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import Node

from audit.attribution.graph import PRODUCTS, nodes_behind, operation, parents
from audit.errors import ModelError

_PROBABILITIES = {"LogSoftmax": "log-softmax", "Sigmoid": "sigmoid", "Softmax": "softmax"}
_CLAMPS = {"Clamp", "ClampMax", "ClampMin"}
_JOINS = {"Cat", "Stack"}
_REARRANGEMENTS = {  # what may come after them: picking, casting, scaling, shifting
    *_CLAMPS,
    *("Add", "Alias", "Clone", "Div", "Index", "IndexSelect", "Mul", "Neg", "Permute"),
    *("ReshapeAlias", "Rsub", "Select", "Slice", "Split", "Squeeze", "Sub", "T", "ToCopy"),
    *("Transpose", "Unbind", "UnsafeView", "Unsqueeze", "View"),
}
_ROUNDING = 1e-2  # of a row's sum, in bfloat16 too


@contextmanager
def probabilities_skipped(logits: Tensor) -> Iterator[None]:
    """Explain what goes into a final softmax or sigmoid, where it would saturate; with a warning.

    While this lasts, its backward step is the identity, and so is that of a clamp after it.

    Raises
    ------
    ModelError
        If the logits are probabilities or their logarithms, made in another way.
    """
    skipped = final_probabilities(logits)
    if not skipped and _are_probabilities(logits):
        raise ModelError(
            "the model returns probabilities (every row sums to 1), where gradients vanish; pass "
            "the model without what makes them, or pick the logits with output="
        )
    for kind in sorted({operation(node) for node in skipped} - _CLAMPS):
        warnings.warn(
            f"the model ends in a {_PROBABILITIES[kind]}: its input is explained; "
            "scores and margins need the logits, so pass the model without it",
            stacklevel=2,
        )
    with ExitStack() as hooks:
        for node in skipped:
            hooks.callback(node.register_hook(_pass_on).remove)
        yield


def final_probabilities(logits: Tensor) -> list[Node]:
    """The softmaxes and sigmoids in which the graph of the logits ends, and clamps after them."""
    ends = nodes_behind(logits.grad_fn, through=_rearranges)
    return [
        node
        for node in ends
        if operation(node) in _PROBABILITIES
        or (operation(node) in _CLAMPS and _holds_probabilities(node))
    ]


def _holds_probabilities(node: Node) -> bool:
    return any(operation(n) in _PROBABILITIES for n in nodes_behind(node, through=_rearranges))


def _rearranges(node: Node) -> bool:
    alone = operation(node) in _REARRANGEMENTS and len(parents(node)) == 1
    return alone or operation(node) in _JOINS


def _pass_on(
    grad_inputs: tuple[Tensor | None, ...], grad_outputs: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    return (*grad_outputs, *grad_inputs[1:])


def _are_probabilities(logits: Tensor) -> bool:
    """Whether they are so by value, and something after the last product can have made them so.

    Values alone would refuse two logits that happen to be 0.3 and 0.7.
    """
    made = {*_PROBABILITIES, "Exp"}
    tail = nodes_behind(logits.grad_fn, through=lambda node: operation(node) not in PRODUCTS)
    if not any(operation(node) in made for node in tail):
        return False
    with torch.no_grad():
        return any(_sum_to_one(rows) for rows in (logits.float(), logits.float().exp()))


def _sum_to_one(rows: Tensor) -> bool:
    inside = ((rows >= 0) & (rows <= 1 + _ROUNDING)).all()
    return rows.shape[1] > 1 and bool(inside and ((rows.sum(1) - 1).abs() < _ROUNDING).all())
