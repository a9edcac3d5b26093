"""Cascading randomisation: maps of a model must go when its weights go.

Adebayo et al., Sanity Checks for Saliency Maps, arXiv 1810.03292, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from audit.errors import ModelError

ALL_WEIGHTS = "all weights"


@dataclass(frozen=True)
class Stage:
    """A stage of the cascade: its name for the reader and the modules that become random in it."""

    name: str
    modules: tuple[str, ...]


def stages_of(module: nn.Module, run: Callable[[nn.Module], object], count: int) -> list[Stage]:
    """The modules that hold weights, from the head down, in stages.

    The first stage is the last such module of the forward pass (the classifier's linear layer, in
    most models); the others have about the same number of modules each.

    Parameters
    ----------
    module
        The model; left as it was.
    run
        One forward pass of a model.
    count
        Largest number of stages.
    """
    names = _in_order(module, run)[::-1]
    parts = [names[:1]]
    if rest := names[1:]:
        parts += [part.tolist() for part in np.array_split(rest, min(count - 1, len(rest)))]
    stages = [Stage(f"down to {part[-1]}", tuple(part)) for part in parts if part]
    if stages:
        stages[-1] = Stage(ALL_WEIGHTS, stages[-1].modules)
    return stages


def cascade(module: nn.Module, stages: list[Stage], seed: int) -> Iterator[tuple[Stage, nn.Module]]:
    """A copy of the model after each stage; the same copy, ever more of it random.

    Parameters
    ----------
    module
        The model; left as it was.
    stages
        As of :func:`stages_of`.
    seed
        Of the random weights.

    Raises
    ------
    ModelError
        If the model cannot be copied.
    """
    altered = _copied(module)
    for number, stage in enumerate(stages):
        randomise(altered, stage.modules, seed + number)
        yield stage, altered


def randomise(module: nn.Module, names: tuple[str, ...], seed: int) -> None:
    """Make the weights of some modules random, in place.

    Every parameter is drawn anew from a normal distribution of the parameter's own mean and
    standard deviation (so one that is the same everywhere stays); modules of ``torch.nn`` that
    know how they are initialised are then initialised so. A ``weight`` of two dimensions or more
    is drawn as He et al. do (arXiv 1502.01852, equation 10) and its bias is 0, so that the signal
    keeps its size through any number of layers; by ``torch.nn``'s own scheme it shrinks, and a
    deep net without normalisation answers its biases, whatever the picture. Running means and
    variances of normalisations become 0 and 1. Other buffers stay.

    Parameters
    ----------
    module
        The model; it is changed.
    names
        Dotted names of modules; of each, the parameters that it holds itself.
    seed
        Of the draws; the global state of random numbers is left as it was.
    """
    devices = sorted({p.device.index for p in module.parameters() if p.device.type == "cuda"})
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed % 2**63)
        for name in names:
            _redraw(module.get_submodule(name))


def _redraw(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point():
            values = parameter.double()
            noise = torch.randn(parameter.shape, dtype=torch.float64).to(values.device)
            parameter.copy_(values.mean() + values.std(correction=0) * noise)
    # Where a weight is parametrised (its norm apart, say), this alone would not reach it.
    if type(module).__module__.startswith("torch.nn.modules"):
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if isinstance(weight, nn.Parameter) and weight.ndim >= 2:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
    for name, buffer in module.named_buffers(recurse=False):
        if name in ("running_mean", "running_var"):
            buffer.fill_(0.0 if name == "running_mean" else 1.0)


def _in_order(module: nn.Module, run: Callable[[nn.Module], object]) -> list[str]:
    """Names of the modules that hold weights, in the order in which a forward pass enters them.

    One that is never entered (its weights are used by the module around it) comes with the
    innermost module around it that is.
    """
    watched = _copied(module)
    entered: dict[str, int] = {}

    def watch(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            entered.setdefault(name, len(entered))

        return note

    for name, part in watched.named_modules():
        part.register_forward_pre_hook(watch(name))
    run(watched)

    def place(name: str) -> int:
        while name and name not in entered:
            name = name.rpartition(".")[0]
        return entered.get(name, 0)

    return sorted(
        (name for name, part in module.named_modules() if _holds_weights(part)), key=place
    )


def _holds_weights(module: nn.Module) -> bool:
    buffers = {name for name, _ in module.named_buffers(recurse=False)}
    return "running_mean" in buffers or next(module.parameters(recurse=False), None) is not None


def _copied(module: nn.Module) -> nn.Module:
    try:
        return deepcopy(module)
    except Exception as error:  # the user's code may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the model cannot be copied to make its weights random ({reason})"
        ) from error
