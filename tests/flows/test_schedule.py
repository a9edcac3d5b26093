from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from audit.runs.folder import Run
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
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not _finished(tmp_path) and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            time.sleep(1)
        assert _finished(tmp_path), log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_wrong_cron_expression_is_named(tmp_path: Path, cuecheck: Command) -> None:
    write_tiny(tmp_path)
    done = cuecheck("schedule", "audit.yaml", "--cron", "every monday", cwd=tmp_path)
    assert done.returncode == 2
    assert 'error: --cron "every monday"' in done.stderr


def _finished(folder: Path) -> bool:
    return any(Run(run).finished for run in (folder / "runs").glob("tiny/*"))
