"""Rules for going back through ReLUs, on the autograd graph, and where they are defined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from audit.attribution.graph import PRODUCTS, nodes_between, operation
from audit.attribution.probabilities import final_probabilities
from audit.errors import ModelError

# Rectifiers, each with the saved value that must be 0 to make it one (ReLU6 is Hardtanh of 0..6).
_RECTIFIERS = {
    "ReluBackward0": None,
    "HardtanhBackward0": "_saved_min_val",
    "ClampBackward1": "_saved_min",
    "ClampMinBackward0": "_saved_min",
    "ThresholdBackward0": "_saved_threshold",
}

# Linear in one input if the others are constant; normalisations count as such.
_SCALINGS = {
    *PRODUCTS,
    *("Div", "Mul"),
    *("CudnnBatchNorm", "NativeBatchNorm", "NativeGroupNorm", "NativeLayerNorm"),
}
_PASSED = {  # sums, pools, what moves values about
    *("AccumulateGrad", "Add", "LinalgVectorNorm", "Mean", "Neg", "Rsub", "Sub", "Sum"),
    *("AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D"),
    *("AvgPool2D", "AvgPool3D", "MaxPool2DWithIndices", "MaxPool3DWithIndices"),
    *("Alias", "AsStrided", "Cat", "ChannelShuffle", "Clone", "Copy", "Expand", "Flip"),
    *("Im2Col", "Col2Im", "Index", "IndexSelect", "Permute", "PixelShuffle", "PixelUnshuffle"),
    *("Repeat", "ReshapeAlias", "Roll", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze"),
    *("Stack", "T", "ToCopy", "Transpose", "Unbind", "Unfold", "UnsafeView", "Unsqueeze", "View"),
    *("ConstantPadNd", "ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D"),
    *("ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D"),
    *("UpsampleBicubic2D", "UpsampleBicubic2DAa", "UpsampleBilinear2D", "UpsampleBilinear2DAa"),
    *("UpsampleLinear1D", "UpsampleNearest1D", "UpsampleNearest2D", "UpsampleNearest3D"),
    *("UpsampleNearestExact1D", "UpsampleNearestExact2D", "UpsampleNearestExact3D"),
    "UpsampleTrilinear3D",
}

_NAMES = {  # of operations that are not called as their modules are
    "Celu": "CELU",
    "Clamp": "a clamp between tensors or not from 0",
    "ClampMin": "a clamp between tensors or not from 0",
    "CopySlices": "an in-place write to a view",
    "Elu": "ELU or SELU",
    "Gelu": "GELU",
    "Glu": "GLU",
    "LeakyRelu": "LeakyReLU",
    "Maximum": "an elementwise maximum",
    "PreluKernel": "PReLU",
    "RreluWithNoise": "RReLU",
    "Silu": "SiLU",
}


def rectifiers(score: Tensor, image: Tensor) -> list[Node]:
    """The ReLUs between the score and the image, however they were called.

    Modules, functions, in-place and reused ReLUs all leave the same node. ReLU6 and clamps from
    0 count as ReLUs. What a final softmax or sigmoid does is left out.

    Parameters
    ----------
    score
        The logits, with their graph.
    image
        The leaf that the graph begins at.

    Raises
    ------
    ModelError
        If guided backpropagation is not defined for the graph: it has no ReLU, or holds anything
        else than ReLUs and what is linear in the image, a normalisation or a pool. What is not
        known to be one of these is refused by its name.
    """
    live = nodes_between(score, image)
    nodes = live.difference(final_probabilities(score))
    found = [node for node in nodes if is_rectifier(node)]
    refusals = {_refusal(node, live) for node in nodes.difference(found)}
    refused = sorted(refusal for refusal in refusals if refusal)
    if refused or not found:
        reason = f"it holds {', '.join(refused)}" if refused else "it has no ReLU"
        raise ModelError(
            f"guided backpropagation is not defined for this model: {reason}; use grad-cam"
        )
    return found


def is_rectifier(node: Node) -> bool:
    """Whether a node is that of a ReLU, ReLU6 or clamp from 0."""
    name = node.name()
    if name not in _RECTIFIERS:
        return False
    lower_bound = _RECTIFIERS[name]
    return lower_bound is None or getattr(node, lower_bound) == 0


def _refusal(node: Node, live: set[Node]) -> str | None:
    """What stands against a node that is no rectifier."""
    name = operation(node)
    if name in _SCALINGS:
        return _gate(node, name, live)
    if name in _PASSED or (name == "ClampMin" and _is_norm(node)):
        return None
    if isinstance(node, BackwardCFunction):
        return f"the custom autograd function {name}"
    return _NAMES.get(name, name)


def _gate(node: Node, name: str, live: set[Node]) -> str | None:
    """What stands against a product: that both its factors depend on the image."""
    first = 1 if name in ("Addmm", "Baddbmm") else 0
    factors = [factor for factor, _ in node.next_functions[first : first + 2]]
    if len(factors) < 2:  # by a number
        return None
    if live.issuperset(factors) and not (name == "Div" and _is_norm(factors[1])):
        return f"a product of functions of the image ({name})"
    if name == "Mul":
        constant = "_saved_other" if factors[0] in live else "_saved_self"
        return "a product with a mask" if _is_mask(getattr(node, constant)) else None
    return None


def _is_norm(node: Node | None) -> bool:
    """Whether this is a vector's length, bounded from below, as in ``F.normalize``."""
    while node is not None and operation(node) in ("Add", "ClampMin", "Expand", "Unsqueeze"):
        node = node.next_functions[0][0]
    return node is not None and operation(node) == "LinalgVectorNorm"


def _is_mask(factor: Tensor | None) -> bool:
    """Whether a constant factor is zeros and ones, as in ``x * (x > 0)``.

    Comparing leaves no node in the graph by which it could be known.
    """
    if factor is None:
        return False
    ones = factor == 1
    mixed = bool(ones.any() and not ones.all())
    return factor.dtype == torch.bool or (mixed and bool((ones | (factor == 0)).all()))


Hook = Callable[[tuple[Tensor | None, ...], tuple[Tensor | None, ...]], tuple[Tensor | None, ...]]


@contextmanager
def hooked(nodes: Iterable[Node], hook: Hook) -> Iterator[None]:
    """While this lasts, what these nodes send back is what the hook makes of it, each by itself.

    A ReLU's input that also feeds a skip connection keeps the gradient that comes by the skip.
    """
    with ExitStack() as hooks:
        for node in nodes:
            hooks.callback(node.register_hook(hook).remove)
        yield


def _positive_gradient(
    grad_inputs: tuple[Tensor | None, ...], _: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    return tuple(None if grad is None else grad.clamp(min=0) for grad in grad_inputs)


def _positive_signal(
    grad_inputs: tuple[Tensor | None, ...], grad_outputs: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    (signal,) = grad_outputs
    return (None if signal is None else signal.clamp(min=0), *grad_inputs[1:])


def guided(score: Tensor, image: Tensor) -> AbstractContextManager[None]:
    """A ReLU passes what is positive, where it was open: ``R [R > 0] [x > 0]``.

    Springenberg et al., arXiv 1412.6806, section 3.4.
    """
    return hooked(rectifiers(score, image), _positive_gradient)


def deconvolved(score: Tensor, image: Tensor) -> AbstractContextManager[None]:
    """A ReLU passes what is positive, open or not: ``R [R > 0]``.

    Zeiler and Fergus, arXiv 1311.2901, section 2.1.
    """
    return hooked(rectifiers(score, image), _positive_signal)


def plain(score: Tensor, image: Tensor) -> AbstractContextManager[None]:
    """The gradient as it is."""
    return nullcontext()


#: Name of a gradient in the image: how to go back for it.
RULES: dict[str, Callable[[Tensor, Tensor], AbstractContextManager[None]]] = {
    "gradient": plain,
    "guided": guided,
    "deconvolved": deconvolved,
}
