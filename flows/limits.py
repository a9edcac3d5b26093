"""How many runs a device of this machine takes at a time, and how long one may last."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from filelock import FileLock, Timeout

from audit.config import Audit
from audit.data.cache import cache_folder
from audit.errors import RunError
from audit.models.devices import choose_device, device_name, gpus
from flows import progress

LOOK_AGAIN = 1.0  # seconds


class _TimeUp(BaseException):
    """Comes at any moment, so no handler of errors may take it for a bad picture or model."""


@contextmanager
def within_limits(config: Audit) -> Iterator[None]:
    """Wait for a place on every device of a run, keep it, and stop the run when its time is up.

    Places are locks on files, which the system takes back from a process that dies.

    Raises
    ------
    RunError
        If the time is up.
    """
    with ExitStack() as stack:
        for name, places in sorted(_devices(config).items()):
            stack.enter_context(_place_on(name, places))
        stack.enter_context(_time_limit(config.execution.time_limit))  # waiting takes none of it
        yield


def _devices(config: Audit) -> dict[str, int]:
    """The devices that a run computes on here, and how many runs each of them takes."""
    execution = config.execution
    if execution.runner in ("dask", "ray"):
        used = [torch.device("cuda", index) for index in range(gpus(execution))]
    else:
        used = []
    used = used or [choose_device(config)]
    places = {
        device_name(device): execution.runs_per_device or (1 if device.type == "cuda" else 0)
        for device in used
    }
    return {name: number for name, number in places.items() if number}


@contextmanager
def _place_on(name: str, places: int) -> Iterator[None]:
    """One of the places on a device, as soon as one is free."""
    folder = cache_folder() / "devices"
    folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(folder / f"{name}.{place}.lock") for place in range(places)]
    while (taken := _first_free(locks)) is None:
        progress.report(f"wait for {name}", 0, 1)
        time.sleep(LOOK_AGAIN)
    try:
        yield
    finally:
        taken.release()


def _first_free(locks: list[FileLock]) -> FileLock | None:
    for lock in locks:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return lock
    return None


@contextmanager
def _time_limit(minutes: float | None) -> Iterator[None]:
    if minutes is None or threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return

    def stop(*_: Any) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    except _TimeUp as error:
        raise RunError(
            f"stopped after {minutes:g} minutes (execution.time_limit); the same command goes on"
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
