"""Where a run's numbers come from: versions, device, seeds, and hashes of data and weights."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import audit

_LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn")


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and device."""
    return {
        "cuecheck": audit.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": "float32",
        "threads": torch.get_num_threads(),
    }


def _git_commit() -> str | None:
    """Commit of the checkout that cuecheck runs from; None where it is installed otherwise."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
