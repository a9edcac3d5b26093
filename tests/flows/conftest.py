from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.tiny import write_tiny

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of the tiny audit; its data lie beside it."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a user with a home of their own."""
    cache = tmp_path_factory.mktemp("cache")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    return {**kept, "CUECHECK_CACHE": str(cache), "COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def cuecheck(environment: Mapping[str, str]) -> Command:
    """Run the command as a user does, in a process of its own."""

    def call(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=dict(environment),
            cwd=cwd,
            check=False,
            timeout=600,
        )

    return call


@pytest.fixture(scope="session")
def finished(tiny: Path, cuecheck: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny audit, made without Prefect."""
    out = tmp_path_factory.mktemp("finished") / "run"
    done = cuecheck("run", tiny, "--no-prefect", "--out", out)
    assert done.returncode == 0, done.stderr
    return out
