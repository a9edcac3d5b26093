"""The registry of attribution methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.attribution.tracing import Trace

Compute = Callable[..., Tensor]


@dataclass(frozen=True)
class Method:
    """An attribution method: a pure function of what one forward pass leaves behind.

    Parameters
    ----------
    compute
        Takes some of these, by name: ``activations`` A ``[B, C, h, w]`` of the layer,
        ``gradients`` dY/dA ``[B, K, C, h, w]`` of K scores, and ``guided`` ``[B, K, C, H, W]``,
        the guided-backpropagation gradient of the scores in the image.
    needs
        The names it takes; nothing else is computed.
    """

    compute: Compute
    needs: frozenset[str]

    def __call__(self, traced: Trace) -> Tensor:
        """The method's maps, computed in the precision of the trace, also under autocast."""
        with torch.autocast(traced.logits.device.type, enabled=False):
            return self.compute(**{name: getattr(traced, name) for name in self.needs})

    @property
    def needs_layer(self) -> bool:
        """Whether the method looks at a layer inside the model."""
        return not self.needs.isdisjoint({"activations", "gradients"})


METHODS: dict[str, Method] = {}


def register(name: str) -> Callable[[Compute], Compute]:
    """Register the decorated function as the method of this name."""

    def add(compute: Compute) -> Compute:
        METHODS[name] = Method(compute, frozenset(inspect.signature(compute).parameters))
        return compute

    return add


def method_named(name: str) -> Method:
    """The method of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in METHODS:
        raise ValueError(f"method '{name}' is unknown; there are {', '.join(sorted(METHODS))}")
    return METHODS[name]
