from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from audit.config import Audit
from audit.config_file import load_config
from audit.errors import RunError
from flows import limits
from tests.flows.conftest import Command

HOLDER = """
import sys, time
from flows.limits import _place_on
with _place_on("cpu", int(sys.argv[1])):
    print("taken", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _config(tiny: Path, **execution: str) -> Audit:
    return load_config(tiny, {f"execution.{key}": value for key, value in execution.items()})


def _hold(places: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(places)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def test_a_run_waits_for_a_place_and_gets_that_of_a_process_that_was_killed(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, waits = _hold(1), []

    def look_again(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            os.kill(other.pid, signal.SIGKILL)
            other.wait()

    monkeypatch.setattr(limits.time, "sleep", look_again)
    with limits.within_limits(_config(tiny, runs_per_device="1")):
        assert len(waits) == 3


def test_there_are_as_many_places_as_configured(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = [_hold(3), _hold(3)]
    monkeypatch.setattr(limits.time, "sleep", pytest.fail)
    try:
        with limits.within_limits(_config(tiny, runs_per_device="3")):
            pass
        with limits.within_limits(_config(tiny)):  # a CPU takes any number
            pass
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_every_gpu_that_workers_use_has_one_place(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(limits, "device_name", str)
    workers = _config(tiny, runner="dask", device="auto")
    assert limits._devices(workers) == {"cuda:0": 1, "cuda:1": 1}
    assert limits._devices(_config(tiny, runner="dask", device="cpu")) == {}


def test_a_run_stops_when_its_time_is_up(tiny: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(RunError, match=r"stopped after 0\.001 minutes .* the same command goes on"),
        limits.within_limits(_config(tiny, time_limit="0.001")),
    ):
        time.sleep(60)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("how", ["--prefect", "--no-prefect"])
def test_the_command_tells_that_time_is_up(
    tiny: Path, cuecheck: Command, tmp_path: Path, how: str
) -> None:
    limit = ("--set", "execution.time_limit=0.005")
    done = cuecheck("run", tiny, how, *limit, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "error: stopped after 0.005 minutes" in done.stderr
