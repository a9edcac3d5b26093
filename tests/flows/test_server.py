from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows import server

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; the last wish is Linux's")
@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGKILL])
def test_server_does_not_outlive_its_process(
    blow: signal.Signals, environment: Mapping[str, str], tmp_path: Path
) -> None:
    script = "from flows.server import local_server\nwith local_server(): pass"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**environment, "PREFECT_HOME": str(tmp_path)}
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    child = int(children.read_text())
    while b"prefect" not in Path(f"/proc/{child}/cmdline").read_bytes():
        time.sleep(0.01)
    process.send_signal(blow)
    process.wait(60)
    deadline = time.monotonic() + 60
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    survived = _lives(child)
    if survived:
        os.kill(child, signal.SIGKILL)
    assert not survived


def test_server_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def stubborn(*_: object, **__: object) -> subprocess.Popen[bytes]:
        process = popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", stubborn)
    monkeypatch.setattr(server, "_wait_for", lambda url, process: None)
    monkeypatch.setattr(server, "STOP_SECONDS", 0.2)
    before = signal.getsignal(signal.SIGTERM)
    with server.local_server():
        pass
    assert started[0].returncode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGTERM) == before


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
