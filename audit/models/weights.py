"""State dicts: read, load into a model, save."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from audit.atomic import replacing
from audit.errors import ModelError

Weights = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
_SHOWN = 3


def read_weights(path: Path) -> Weights:
    """Tensors of a ``.pt``, ``.pth`` or ``.safetensors`` file, on the CPU.

    A state dict may be wrapped as ``{"state_dict": ...}``, ``{"model_state_dict": ...}`` or
    ``{"model": ...}``. Nothing in the file is executed.

    Raises
    ------
    ModelError
        If the file is missing, damaged, not a state dict, or holds code instead of tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights")
    content = _safetensors(path) if path.suffix == ".safetensors" else read_pickled(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: holds {type(content).__name__}, not a state dict")
    odd = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        raise ModelError(
            f"{path}: not a state dict, '{odd[0]}' is not a tensor; save model.state_dict()"
        )
    unnamed = [key for key in content if not isinstance(key, str)]
    if unnamed:
        raise ModelError(f"{path}: not a state dict, its key {unnamed[0]} is not a name")
    return content


def read_pickled(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is tensors and plain values; nothing is executed.

    Raises
    ------
    ModelError
        If the file is damaged, or holds code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise ModelError(f"{path}: damaged, or not written by torch.save") from error
        raise ModelError(
            f"{path}: holds Python code ({named[1]}) and is not loaded, since it could run "
            "anything; save model.state_dict() alone, best as .safetensors"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path}: damaged, or not written by torch.save ({reason})") from error


def load_weights(module: nn.Module, weights: Weights, path: Path) -> None:
    """Put ``weights`` (of ``path``) into the model; every key and shape must agree.

    Keys may have the prefixes of a wrapper, ``module.`` (DataParallel) or ``_orig_mod.``
    (torch.compile).

    Raises
    ------
    ModelError
        Naming the first missing and unexpected keys and differing shapes, and what to do.
    """
    own = module.state_dict()
    weights = _unwrapped(own, weights)
    faults = _key_faults(own, weights)
    differing = _differing(own, weights)
    if differing:
        faults.append("other shapes: " + _some(_shapes(own, weights, key) for key in differing))
    if faults:
        raise ModelError(f"{path}: does not fit the architecture: " + "; ".join(faults) + _HINT)
    module.load_state_dict(weights)


def load_all_but_head(module: nn.Module, weights: Weights, path: Path, n_outputs: int) -> list[str]:
    """Start from ``weights`` trained on other classes: the head keeps its fresh values.

    A tensor belongs to the head if it differs from the model's in its first dimension only, which
    is the model's number of outputs.

    Returns
    -------
    Keys that kept their fresh values.

    Raises
    ------
    ModelError
        As :func:`load_weights`, for any other difference.
    """
    own = module.state_dict()
    weights = _unwrapped(own, weights)
    head = [
        key
        for key in _differing(own, weights)
        if own[key].ndim == weights[key].ndim
        and own[key].shape[:1] == (n_outputs,)
        and own[key].shape[1:] == weights[key].shape[1:]
    ]
    load_weights(module, weights | {key: own[key] for key in head}, path)
    return head


def save_weights(weights: Weights, path: Path) -> None:
    """Write a ``.safetensors`` file, whole or not at all."""
    # clones, because safetensors refuses tensors that share memory
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
    with replacing(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)


_HINT = (
    ". Give the architecture, model.arguments and model.outputs (the classes of all outputs) "
    "with which the weights were trained"
)


def _safetensors(path: Path) -> Weights:
    try:
        weights: Weights = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not readable as safetensors ({error})") from error
    return weights


def _unwrapped(own: Weights, weights: Weights) -> Weights:
    """The weights without as many prefixes as it takes for the most keys to be the model's own."""
    forms = [weights]
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in forms[-1])), None):
        forms.append({key.removeprefix(prefix): value for key, value in forms[-1].items()})
    return max(forms, key=lambda form: len(form.keys() & own.keys()))


def _key_faults(own: Weights, weights: Weights) -> list[str]:
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    faults = [f"missing: {_some(missing)}"] if missing else []
    return faults + ([f"unexpected: {_some(unexpected)}"] if unexpected else [])


def _differing(own: Weights, weights: Weights) -> list[str]:
    return [key for key in own if key in weights and own[key].shape != weights[key].shape]


def _shapes(own: Weights, weights: Weights, key: str) -> str:
    return f"{key} is {list(weights[key].shape)} in the file, {list(own[key].shape)} in the model"


def _some(texts: Any) -> str:
    texts = list(texts)
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers: names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()
