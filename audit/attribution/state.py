"""The state of a model during a pass: locked, evaluating, frozen; put back afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import fx, nn
from torch._ops import OpOverload

from audit.errors import ModelError

_locks: WeakKeyDictionary[nn.Module, AbstractContextManager[Any]] = WeakKeyDictionary()
_locks_lock = threading.Lock()


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no parameter gradients, grad mode on; all as before afterwards.

    With every parameter frozen nothing records a graph until something is made a leaf, so the part
    of the network before that leaf costs what it costs under ``no_grad``. One thread at a time
    passes, since the hooks and flags of a model are shared by all threads.

    Raises
    ------
    ModelError
        If the model is a wrapper that hides its layers from hooks.
    """
    _refuse_wrappers(model)
    with _lock_of(model), torch.inference_mode(False), torch.enable_grad():
        modes = [(module, module.training) for module in model.modules()]
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        try:
            for module, _ in modes:
                module.training = False
            for parameter in trainable:
                parameter.requires_grad_(False)
            yield
        finally:
            for module, training in modes:
                module.training = training
            for parameter in trainable:
                parameter.requires_grad_(True)


def _lock_of(model: nn.Module) -> AbstractContextManager[Any]:
    with _locks_lock:
        return _locks.setdefault(model, threading.RLock())


def _refuse_wrappers(model: nn.Module) -> None:
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise ModelError(f"{kind}: not a torch.nn.Module; explain the eager model it was made from")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise ModelError(f"{kind}: replicas cannot be explained; explain its .module instead")
    for name, module in model.named_modules():
        where = f"layer '{name}'" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"{where} is TorchScript; explain the eager model it was made from")
        if _is_exported(module):
            raise ModelError(f"{where} is exported; explain the eager model it was made from")
        if "_orig_mod" in module._modules or module._compiled_call_impl is not None:
            raise ModelError(
                f"{where} is compiled; explain the eager model (for torch.compile(model), its "
                "._orig_mod) and compile afterwards"
            )


def _is_exported(module: nn.Module) -> bool:
    """Whether a module runs a graph of operators; that of ``symbolic_trace`` calls layers."""
    graph = getattr(module, "graph", None)
    return isinstance(graph, fx.Graph) and any(
        isinstance(node.target, OpOverload) for node in graph.nodes
    )
