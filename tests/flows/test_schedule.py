from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from audit.config_file import load_config
from audit.runs.folder import Run
from flows import schedule
from flows.audit import audit_flow
from tests.flows.conftest import Command
from tests.tiny import write_tiny

PATIENCE = 400.0  # seconds: a server's start, up to a minute until the next one, and the audit


def test_scheduled_run_fires(tmp_path: Path, environment: Mapping[str, str]) -> None:
    write_tiny(tmp_path)
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "schedule", "audit.yaml", "--cron", "* * * * *"],
            cwd=tmp_path,
            env={**environment, "CUECHECK_CACHE": str(tmp_path / "cache")},
            stdout=output,
            stderr=output,
            # Below a background job of a shell it would be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not _finished(tmp_path) and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            time.sleep(1)
        assert _finished(tmp_path), log.read_text()
        while "Gate" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    start, end = log.read_text().splitlines()
    assert start.startswith('tiny: scheduled for "* * * * *"')
    assert "GateInconclusive" in end
    assert str(tmp_path / "runs" / "tiny") in end


def test_a_crashed_run_keeps_no_later_one_from_firing(tiny: Path) -> None:
    # Prefect keeps the slot of a holder that died; runs are kept apart by the runner and the lock.
    deployment = schedule._deployment(load_config(tiny), "* * * * *")
    assert deployment.concurrency_limit is None


@pytest.mark.parametrize("hooks", ["on_completion", "on_failure", "on_crashed"])
@pytest.mark.parametrize("deployment", [None, "some id"])
def test_a_scheduled_run_tells_how_it_ended(
    hooks: str, deployment: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    state = SimpleNamespace(name="Failed", message="DataError: no\x1b[1Gmanifest\nin data")
    (hook,) = getattr(audit_flow, f"{hooks}_hooks")
    hook(audit_flow, SimpleNamespace(name="keen-owl", deployment_id=deployment), state)
    told = capsys.readouterr()
    assert told.out == ""
    assert ("Failed: DataError: no [1Gmanifest in data\n" in told.err) == bool(deployment)
    assert len(told.err.splitlines()) == (1 if deployment else 0)


def test_wrong_cron_expression_is_named(tmp_path: Path, cuecheck: Command) -> None:
    write_tiny(tmp_path)
    done = cuecheck("schedule", "audit.yaml", "--cron", "every monday", cwd=tmp_path)
    assert done.returncode == 2
    assert 'error: --cron "every monday"' in done.stderr
    assert "https" not in done.stderr


def _finished(folder: Path) -> bool:
    return any(Run(run).finished for run in (folder / "runs").glob("tiny/*"))
