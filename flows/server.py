"""A local Prefect server of our own, for schedules: the one within a flow's process fires none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from audit.errors import RunError

STARTUP_SECONDS = 180.0
LOOPBACK = "127.0.0.1"


@contextmanager
def local_server() -> Iterator[str]:
    """Run a server on loopback; gives the URL of its API, and stops it in the end.

    Raises
    ------
    RunError
        If it does not answer in time.
    """
    port = _free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", LOOPBACK, "--port", str(port), "--no-ui"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    try:
        url = f"http://{LOOPBACK}:{port}/api"
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{url}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise RunError(
        "the local Prefect server did not start; start one with `prefect server start` and set "
        "PREFECT_API_URL"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
