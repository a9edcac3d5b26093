"""Architectures by name: our own, torchvision's, or the user's ``module:factory``."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from audit.errors import CuecheckError, ModelError
from audit.models.small_cnn import SmallCNN

Factory = Callable[..., nn.Module]

ARCHITECTURES: dict[str, Factory] = {"small-cnn": SmallCNN}


def build(architecture: str, arguments: dict[str, Any], n_outputs: int) -> nn.Module:
    """A model with fresh weights (or with its own, if the user's factory loads some).

    Parameters
    ----------
    architecture
        A name of :func:`architectures`, or ``module:factory``; modules are looked up on Python's
        path and in the current folder.
    arguments
        Keyword arguments of the architecture; they win over ``n_outputs``.
    n_outputs
        Passed as ``num_classes``; to a user's factory only if it has a parameter of that name.

    Raises
    ------
    ModelError
        If there is no such architecture, or it cannot be built; names what failed.

    Examples
    --------
    >>> build("small-cnn", {"width": 8}, n_outputs=2).head
    Linear(in_features=32, out_features=2, bias=True)
    """
    if ":" in architecture:
        with _current_folder_importable():
            factory = _user_factory(architecture)
            takes_classes = "num_classes" in _parameters(factory)
            defaults = {"num_classes": n_outputs} if takes_classes else {}
            return _called(architecture, factory, defaults | arguments)
    if architecture in ARCHITECTURES:
        factory = ARCHITECTURES[architecture]
        return _called(architecture, factory, {"num_classes": n_outputs} | arguments)
    if architecture in _torchvision_names():
        factory = torchvision.models.get_model_builder(architecture)
        return _called(architecture, factory, {"num_classes": n_outputs} | arguments)
    near = difflib.get_close_matches(architecture, architectures(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "e.g. small-cnn, resnet18"
    raise ModelError(
        f"model.architecture: '{architecture}' is not known; {hint} "
        "(or module:factory for a model of your own)"
    )


def architectures() -> list[str]:
    """Names that :func:`build` knows, besides ``module:factory``."""
    return [*ARCHITECTURES, *_torchvision_names()]


def _torchvision_names() -> list[str]:
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _user_factory(architecture: str) -> Factory:
    where, _, name = architecture.partition(":")
    try:
        factory = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and (where == error.name or where.startswith(error.name + ".")):
            raise ModelError(
                f"model.architecture: module '{where}' not found in the current folder "
                f"({Path.cwd()}) or on Python's path"
            ) from error
        raise ModelError(f"model.architecture: importing '{where}' failed: {error}") from error
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"model.architecture: importing '{where}' failed: {_one_line(error)}"
        ) from error
    for part in name.split("."):
        if not hasattr(factory, part):
            raise ModelError(f"model.architecture: module '{where}' has no '{name}'")
        factory = getattr(factory, part)
    if not callable(factory):
        raise ModelError(f"model.architecture: '{architecture}' is not a function or class")
    return factory


def _parameters(factory: Factory) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except ValueError:  # some callables written in C have no signature
        return set()


def _called(architecture: str, factory: Factory, arguments: dict[str, Any]) -> nn.Module:
    try:
        module = factory(**arguments)
    except CuecheckError:
        raise
    except Exception as error:  # the user's code may raise anything
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ModelError(f"{architecture}({given}) failed: {_one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"model.architecture: '{architecture}' returned {type(module).__name__}, "
            "not a torch.nn.Module"
        )
    return module


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Python adds the current folder for ``python -m``, not for installed commands."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
