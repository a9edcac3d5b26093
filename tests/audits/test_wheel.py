"""What a user gets who installs the wheel and has no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_demo_runs_from_a_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    _call([sys.executable, "-m", "build", "-w", "-n", "-o", str(tmp_path), str(ROOT)], tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    _call([*pip, str(wheel)], tmp_path)
    for name in ("github.yml", "gitlab.yml", "pre-release.sh", "policy.yaml", "waivers.yaml"):
        assert (site / "configs" / "gate" / name).is_file()
    small = {
        "data.scenes.train": 40,
        "data.scenes.audit": 40,
        "data.scenes.size": 64,
        "model.input.size": "[64, 64]",
        "model.train.epochs": 1,
    }
    settings = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    environment = {"PYTHONPATH": str(site), "CUECHECK_CACHE": str(tmp_path / "cache")}
    demo = [sys.executable, "-m", "flows", "demo", "--no-prefect", "--json", *settings]
    summary = json.loads(_call(demo, empty, environment))
    assert Path(summary["report"]).is_file()
    assert Path(summary["run"]).is_relative_to(empty / "runs" / "demo")
    code = "import audit; print(audit.__file__)"
    assert str(site) in _call([sys.executable, "-c", code], empty, environment)


def _call(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
