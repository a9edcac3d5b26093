"""The registry of attribution methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from audit.attribution.scores import Question
from audit.attribution.state import undisturbed
from audit.attribution.tracing import LAYER, Trace, trace

ScoresOf = Callable[[Tensor], Tensor]


class Method(Protocol):
    """An attribution method: a model, images and K scores of each to maps."""

    @property
    def needs_layer(self) -> bool:
        """Whether it looks at a layer inside the model."""

    def __call__(
        self, model: nn.Module, images: Tensor, question: Question, layer: str | None
    ) -> Tensor:
        """``[B, K, h, w]`` or ``[B, K, C, H, W]``, raw and detached."""


@dataclass(frozen=True)
class ByGradient:
    """A method that is a pure function of what one forward pass leaves behind.

    Parameters
    ----------
    compute
        Takes some fields of :class:`~audit.attribution.tracing.Trace`, by name.
    """

    compute: Callable[..., Tensor]

    @property
    def needs(self) -> frozenset[str]:
        """The fields that it takes; nothing else is computed."""
        return frozenset(inspect.signature(self.compute).parameters)

    @property
    def needs_layer(self) -> bool:
        """Whether it looks at a layer inside the model."""
        return not LAYER.isdisjoint(self.needs)

    def __call__(
        self, model: nn.Module, images: Tensor, question: Question, layer: str | None
    ) -> Tensor:
        """One forward pass, those back, and the method's formula."""
        return self.of(trace(model, images, question, layer=layer, needs=self.needs))

    def of(self, traced: Trace) -> Tensor:
        """The maps, computed in the precision of the trace, also under autocast."""
        with torch.autocast(traced.scores.device.type, enabled=False):
            return self.compute(**{name: getattr(traced, name) for name in self.needs})


@dataclass(frozen=True)
class ByTrial:
    """A method that asks the model about altered images, whatever the model is.

    Parameters
    ----------
    compute
        Takes a function from images ``[B, C, H, W]`` to their scores ``[B, K]``, and the images.
    """

    compute: Callable[[ScoresOf, Tensor], Tensor]
    needs_layer: bool = False

    def __call__(
        self, model: nn.Module, images: Tensor, question: Question, layer: str | None
    ) -> Tensor:
        """Forward passes without a graph, and the method's formula."""
        with undisturbed(model), torch.no_grad():

            def numbers_of(altered: Tensor) -> Tensor:  # the model may write to what it is given
                return question.scores(model(altered.clone()), len(altered))

            directions = question.directions(numbers_of(images))

            def scores_of(altered: Tensor) -> Tensor:
                return torch.einsum("bn,kbn->bk", numbers_of(altered), directions)

            return self.compute(scores_of, images.detach())


METHODS: dict[str, Method] = {}


def register(name: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register the decorated function of a trace as the method of this name."""

    def add(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        METHODS[name] = ByGradient(compute)
        return compute

    return add


def register_trial(
    name: str,
) -> Callable[[Callable[[ScoresOf, Tensor], Tensor]], Callable[[ScoresOf, Tensor], Tensor]]:
    """Register the decorated function of scores and images as the method of this name."""

    def add(compute: Callable[[ScoresOf, Tensor], Tensor]) -> Callable[[ScoresOf, Tensor], Tensor]:
        METHODS[name] = ByTrial(compute)
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
