"""A local Prefect server of our own, for schedules and workers: they cannot use a flow's own."""

from __future__ import annotations

import ctypes
import os
import signal
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
STOP_SECONDS = 30.0
LOOPBACK = "127.0.0.1"
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@contextmanager
def prefect_api() -> Iterator[None]:
    """The user's Prefect API where one is set, else a local server of our own."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    with local_server() as url, temporary_settings({PREFECT_API_URL: url}):
        yield


@contextmanager
def local_server() -> Iterator[str]:
    """Run a server on loopback; gives the URL of its API, and stops it in the end.

    Raises
    ------
    RunError
        If it does not answer in time.
    """
    port = _free_port()
    # Without a handler, SIGTERM would end this process at once and leave the server behind.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", LOOPBACK, "--port", str(port), "--no-ui"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        preexec_fn=_end_with_parent if LIBC else None,  # noqa: PLW1509 - it takes no lock
    )
    try:
        url = f"http://{LOOPBACK}:{port}/api"
        _wait_for(url, process)
        yield url
    finally:
        _stop(process)
        signal.signal(signal.SIGTERM, before)


def _end_with_parent() -> None:
    """Have Linux stop this process when its parent is killed, which runs no handler."""
    assert LIBC is not None
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
