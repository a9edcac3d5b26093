"""Where a model runs."""

from __future__ import annotations

import torch

from audit.config import Audit, Execution
from audit.errors import ModelError


def choose_device(config: Audit) -> torch.device:
    """The configured device; auto takes a GPU where there is one.

    Raises
    ------
    ModelError
        If the device is not there.
    """
    # TF32 keeps 10 bits of the mantissa: maps on a GPU would differ from those on a CPU.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    name = config.execution.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    refusal = f"execution.device: '{name}' is no device; use auto, cpu or cuda"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(refusal) from error
    if device.type not in ("cpu", "cuda"):
        raise ModelError(refusal)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ModelError(
            f"execution.device: '{name}', but there are {count} CUDA devices; use auto or cpu"
        )
    return device


def device_name(device: torch.device) -> str:
    """A name of a device that no other of this machine has, in any process: of a GPU its UUID."""
    if device.type != "cuda":
        return device.type
    return f"cuda-{torch.cuda.get_device_properties(device).uuid}"


def gpus(execution: Execution) -> int:
    """GPUs of this machine that workers share among them: none if a device is named."""
    return torch.cuda.device_count() if execution.device in ("auto", "cuda") else 0
