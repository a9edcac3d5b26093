"""Surgery on the autograd graph of a score: guided ReLUs, softmax, what depends on what."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from audit.errors import ModelError

# Rectifiers, each with the saved value that must be 0 to make it one (ReLU6 is Hardtanh of 0..6).
_RECTIFIERS = {
    "ReluBackward0": None,
    "HardtanhBackward0": "_saved_min_val",
    "ClampBackward1": "_saved_min",
    "ClampMinBackward0": "_saved_min",
    "ThresholdBackward0": "_saved_threshold",
}

# Non-linearities for which guided backpropagation is not defined, or that may hide a rectifier.
_UNGUIDED = {
    "CeluBackward0": "CELU",
    "ClampBackward0": "a clamp between tensors",
    "ClampMinBackward1": "a clamp between tensors",
    "CopySlices": "an in-place write to a view",
    "EluBackward0": "ELU or SELU",
    "GeluBackward0": "GELU",
    "GluBackward0": "GLU",
    "HardshrinkBackward0": "Hardshrink",
    "HardswishBackward0": "Hardswish",
    "HardtanhBackward0": "Hardtanh",
    "LeakyReluBackward0": "LeakyReLU",
    "LogSigmoidBackward0": "LogSigmoid",
    "MaximumBackward0": "an elementwise maximum",
    "MishBackward0": "Mish",
    "PreluKernelBackward0": "PReLU",
    "RreluWithNoiseBackward0": "RReLU",
    "SiluBackward0": "SiLU",
    "SoftplusBackward0": "Softplus",
    "SoftshrinkBackward0": "Softshrink",
    "TanhBackward0": "Tanh",
}

_PROBABILITIES = {
    "LogSoftmaxBackward0": "log-softmax",
    "SigmoidBackward0": "sigmoid",
    "SoftmaxBackward0": "softmax",
}
_REARRANGEMENTS = {  # what may come after them: picking, joining, changing the sign
    "CatBackward0",
    "DivBackward0",
    "IndexBackward0",
    "NegBackward0",
    "SelectBackward0",
    "SliceBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "StackBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}


def _name(node: Node) -> str:
    return node.name().rsplit("::", 1)[-1]


def _nodes(score: Tensor, through: Container[str] | None = None) -> list[Node]:
    """The nodes of the graph that computed the score, or those behind nodes of these names."""
    pending = [score.grad_fn]
    seen: dict[Node, None] = {}
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen[node] = None
            if through is None or _name(node) in through:
                pending += [parent for parent, _ in node.next_functions]
    return list(seen)


def refuse_checkpoints(score: Tensor) -> None:
    """Reentrant checkpoints cannot be differentiated in an activation.

    Raises
    ------
    ModelError
        If the graph holds one.
    """
    if any(_name(node) == "CheckpointFunctionBackward" for node in _nodes(score)):
        raise ModelError(
            "the model is checkpointed with use_reentrant=True; switch checkpointing off, or use "
            "use_reentrant=False"
        )


def rectifiers(score: Tensor) -> list[Node]:
    """The ReLUs of the graph that computed the score, however they were called.

    Modules, functions, in-place and reused ReLUs all leave the same node. ReLU6 and clamps from
    0 count as ReLUs; clamps from elsewhere are left alone.

    Raises
    ------
    ModelError
        If guided backpropagation is not defined for the graph: it holds another non-linearity or
        an opaque node (compiled, checkpointed, a custom autograd function), or no ReLU.
    """
    found, refused = [], set()
    for node in _nodes(score):
        name = _name(node)
        if _is_rectifier(node, name):
            found.append(node)
        elif isinstance(node, BackwardCFunction):
            refused.add(f"the custom autograd function {name.removesuffix('Backward')}")
        elif name in _UNGUIDED:
            refused.add(_UNGUIDED[name])
    if refused or not found:
        reason = f"it holds {', '.join(sorted(refused))}" if refused else "it has no ReLU"
        raise ModelError(
            f"guided backpropagation is not defined for this model: {reason}; use grad-cam"
        )
    return found


def _is_rectifier(node: Node, name: str) -> bool:
    if name not in _RECTIFIERS:
        return False
    lower_bound = _RECTIFIERS[name]
    return lower_bound is None or getattr(node, lower_bound) == 0


def guide(nodes: list[Node]) -> None:
    """Let only positive gradients pass these nodes, each by itself, as long as the graph lives.

    A ReLU's input that also feeds a skip connection keeps the gradient that comes by the skip.
    """
    for node in nodes:
        node.register_hook(_keep_positive)


def _keep_positive(
    grad_inputs: tuple[Tensor | None, ...], _: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    return tuple(None if grad is None else grad.clamp(min=0) for grad in grad_inputs)


def skip_probabilities(score: Tensor) -> None:
    """Explain what goes into a final softmax or sigmoid, where it would saturate; with a warning.

    Where the graph ends in one, its backward step becomes the identity.
    """
    for node in _nodes(score, through=_REARRANGEMENTS):
        if _name(node) in _PROBABILITIES:
            warnings.warn(
                f"the model ends in a {_PROBABILITIES[_name(node)]}: its input is explained; "
                "scores and margins need the logits, so pass the model without it",
                stacklevel=2,
            )
            node.register_hook(lambda grad_inputs, grad_outputs: grad_outputs)


def depends(score: Tensor, tensor: Tensor) -> Tensor | None:
    """Where the score depends on a tensor, whatever the values: bool of its shape, None: nowhere.

    A NaN is sent back. It survives weights of zero, and stops where a token is dropped.
    """
    with torch.autograd.set_detect_anomaly(False):
        (arrived,) = torch.autograd.grad(
            score, tensor, torch.full_like(score, math.nan), retain_graph=True, allow_unused=True
        )
    return None if arrived is None else arrived.isnan()
