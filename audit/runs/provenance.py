"""Where a run's numbers come from: versions, device, seeds, and hashes of data and weights."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import audit
from audit.runs.files import digest_of, file_digest

_LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn")


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, device and the precision of the model up to the explained layer."""
    return {
        "cuecheck": audit.__version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": precision,
        "threads": torch.get_num_threads(),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were computed on, beside the name of the device."""
    on_cuda = device.type == "cuda"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda if on_cuda else None,
        "cudnn": torch.backends.cudnn.version() if on_cuda else None,  # type: ignore[no-untyped-call]
    }


def _processor() -> str:
    """Name of the processor; Linux tells it in a file, others by :mod:`platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def requirements() -> str:
    """Every installed distribution as ``name==version``, one a line, as pip reads it.

    Where one came from is left out: such an address can hold a password.
    """
    found = {
        (str(one.metadata["Name"]).lower(), one.version)
        for one in metadata.distributions()
        if one.metadata["Name"]
    }
    return "".join(f"{name}=={version}\n" for name, version in sorted(found))


@lru_cache  # what runs is what was there when the process started
def code_digest(folder: Path = Path(audit.__file__).parent) -> str:
    """SHA-256 over the names and contents of the source files of a package."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    return digest_of({name: file_digest(path) for name, path in files.items()})


def factory_digest(architecture: str) -> str | None:
    """SHA-256 of the file of an imported ``module:factory``; None if there is none."""
    where, separator, _ = architecture.partition(":")
    module = sys.modules.get(where) if separator else None
    return _module_digest(module) if module is not None else None


@lru_cache  # as of our own code: a worker that lives on keeps what it imported
def _module_digest(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    return file_digest(Path(file)) if file and Path(file).is_file() else None


def git_commit(file: Path = Path(__file__)) -> str | None:
    """Commit of the checkout that holds a file, ``-dirty`` if anything in it was changed.

    None where the file is of no checkout: cuecheck is installed otherwise.
    """
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        describe = ("--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40")
        return _git(file.parent, *describe, "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
