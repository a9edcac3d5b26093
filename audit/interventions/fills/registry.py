"""The registry of fills: what a removed area is filled with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from audit.errors import ConfigError

Paint = Callable[[Tensor, Tensor, list[int]], Tensor]


@dataclass(frozen=True)
class Fill:
    """A way to fill an area.

    Parameters
    ----------
    paint
        Takes pictures ``[B, 3, h, w]`` (float in 0..1), the areas ``[B, 1, h, w]`` (bool) and a
        seed per picture; returns pictures of which only the area is used.
    keeps_colours
        Whether something of the area itself remains in what fills it.
    needs
        A module that must be installed, or None.
    extra
        The extra of cuecheck that installs it.
    """

    paint: Paint
    keeps_colours: bool = False
    needs: str | None = None
    extra: str | None = None


FILLS: dict[str, Fill] = {}


def register(
    name: str,
    *,
    keeps_colours: bool = False,
    needs: str | None = None,
    extra: str | None = None,
) -> Callable[[Paint], Paint]:
    """Register the decorated function as the fill of this name; see :class:`Fill`."""

    def add(paint: Paint) -> Paint:
        FILLS[name] = Fill(paint, keeps_colours, needs, extra)
        return paint

    return add


def fill(name: str, images: Tensor, masks: Tensor, seeds: list[int]) -> Tensor:
    """Pictures with the masked area filled; everything else stays as it is.

    Parameters
    ----------
    name
        A registered fill.
    images
        ``[B, 3, h, w]`` float in 0..1.
    masks
        ``[B, h, w]`` bool, the area to fill.
    seeds
        One per picture, for fills that draw random numbers.
    """
    area = masks[:, None]
    return torch.where(area, FILLS[name].paint(images, area, seeds), images)


def check_fills(names: Sequence[str]) -> None:
    """Find out before anything is computed whether the fills can be.

    Raises
    ------
    ConfigError
        If one needs a library that is not installed; says how to install it.
    """
    for name in names:
        chosen = FILLS[name]
        if chosen.needs and find_spec(chosen.needs) is None:
            raise ConfigError(
                f"interventions.fills: '{name}' needs a library that is not installed; "
                f"pip install 'cuecheck[{chosen.extra}]'"
            )


def fill_versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of the libraries that the fills need besides those of every audit."""
    needed = sorted({module for name in names if (module := FILLS[name].needs)})
    return {module: str(import_module(module).__version__) for module in needed}
