"""The autograd graph of a score: its nodes, what depends on what."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from audit.errors import ModelError

# Matrix products, and the convolutions that are some.
PRODUCTS = {"Addmm", "Baddbmm", "Bmm", "Convolution", "Linear", "Mm", "Mv"}
_LINEAR = {
    *("Addmm", "Linear", "Mm"),
    *("AccumulateGrad", "AdaptiveAvgPool2D", "Alias", "AvgPool2D", "Clone", "Mean", "Permute"),
    *("ReshapeAlias", "Squeeze", "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View"),
    *("Add", "Index", "Neg", "Select", "Slice", "Sub"),
}


def operation(node: Node) -> str:
    """What a node differentiates: ``Relu`` of ``ReluBackward0``."""
    return re.sub(r"Backwards?\d*$", "", node.name().rsplit("::", 1)[-1])


def parents(node: Node) -> list[Node]:
    """The nodes of a node's inputs, those without gradient left out."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def nodes_behind(node: Node | None, through: Callable[[Node], bool] = lambda _: True) -> list[Node]:
    """A node and those reached from it towards the input, passing only ``through`` such nodes."""
    pending = [] if node is None else [node]
    seen: dict[Node, None] = {}
    while pending:
        found = pending.pop()
        if found not in seen:
            seen[found] = None
            if through(found):
                pending += parents(found)
    return list(seen)


def nodes_between(score: Tensor, image: Tensor) -> set[Node]:
    """The nodes on the paths from the score to the image, a leaf."""
    children: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes_behind(score.grad_fn):
        for parent in parents(node):
            children[parent].append(node)
    pending, seen = [get_gradient_edge(image).node], set()
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += children[node]
    return seen


def refuse_checkpoints(score: Tensor) -> None:
    """Reentrant checkpoints cannot be differentiated in an activation.

    Raises
    ------
    ModelError
        If the graph holds one.
    """
    if any(operation(node) == "CheckpointFunction" for node in nodes_behind(score.grad_fn)):
        raise ModelError(
            "the model is checkpointed with use_reentrant=True; switch checkpointing off, or use "
            "use_reentrant=False"
        )


def is_linear(score: Tensor, leaf: Tensor) -> bool:
    """Whether only means, reshapes and products with constants lie between a score and a leaf."""
    return all(operation(node) in _LINEAR for node in nodes_between(score, leaf))


def depends(score: Tensor, tensor: Tensor) -> Tensor | None:
    """Where the score depends on a tensor, whatever the values: bool of its shape, None: nowhere.

    A NaN is sent back. It survives weights of zero, and stops where a token is dropped.
    """
    with torch.autograd.set_detect_anomaly(False):
        (arrived,) = torch.autograd.grad(
            score, tensor, torch.full_like(score, math.nan), retain_graph=True, allow_unused=True
        )
    return None if arrived is None else arrived.isnan()
