"""The precision a model computes in: bfloat16 up to a layer, where the hardware is made for it."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

from audit.errors import ModelError


def set_precision(module: nn.Module, layer: str, wanted: str, probe: Tensor) -> str:
    """Let a model compute in the wanted precision; see :func:`reduce_to_bfloat16`.

    Parameters
    ----------
    module
        A frozen model in evaluation mode. It is changed.
    layer
        Dotted name of the explained layer.
    wanted
        ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the device computes it fast and the
        model can.
    probe
        ``[1, C, H, W]`` on the model's device, to try it.

    Returns
    -------
    ``float32`` or ``bfloat16``.

    Raises
    ------
    ModelError
        If bfloat16 was asked for and the model cannot.
    """
    if wanted == "float32" or (wanted == "auto" and not computes_bfloat16_fast(probe.device)):
        return "float32"
    hooks = reduce_to_bfloat16(module, layer, probe.device.type)
    try:
        with torch.no_grad():
            module(probe.clone())
    except Exception as error:  # the user's code may raise anything
        for hook in hooks:
            hook.remove()
        if wanted == "bfloat16":
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                "execution.precision: the model cannot compute in bfloat16 up to layer "
                f"'{layer}' ({reason}); use float32"
            ) from error
        return "float32"
    return "bfloat16"


def computes_bfloat16_fast(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16: CUDA 8.0, AVX512-BF16, AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older versions have none
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def reduce_to_bfloat16(
    module: nn.Module, layer: str, device_type: str
) -> list[torch.utils.hooks.RemovableHandle]:
    """From now on a model computes products in bfloat16 up to a layer, and in float32 from there.

    The layer's activations are rounded, what follows is computed from them in float32: a margin
    is not a difference of two rounded logits, and what rounds the trunk averages out over the grid.

    Returns
    -------
    The hooks; removing them puts the model back.
    """
    running = threading.local()  # the precision is a thread's, the hooks are the model's

    def begin(_: nn.Module, __: Any) -> None:
        running.context = torch.autocast(device_type, torch.bfloat16)
        running.context.__enter__()

    def end() -> None:
        context = getattr(running, "context", None)
        running.context = None
        if context is not None:
            context.__exit__(None, None, None)

    def widen(_: nn.Module, __: Any, output: Any) -> Any:
        end()
        if isinstance(output, tuple):
            return tuple(o.float() if isinstance(o, Tensor) else o for o in output)
        return output.float() if isinstance(output, Tensor) else output

    def finish(_: nn.Module, __: Any, output: Any) -> None:
        end()

    return [
        module.register_forward_pre_hook(begin),
        module.get_submodule(layer).register_forward_hook(widen),
        module.register_forward_hook(finish, always_call=True),
    ]
