"""Which faults pass by themselves: only those are worth another try."""

from __future__ import annotations

import errno
from concurrent.futures.process import BrokenProcessPool
from logging import WARNING
from typing import Any

from httpx import TransportError
from prefect.client.schemas import TaskRun
from prefect.client.schemas.objects import State
from prefect.exceptions import CrashedRun, UnfinishedRun
from prefect.tasks import Task

from audit.events import tell

RETRIES = 2
DELAYS = [2.0, 20.0]  # seconds: a network file system or a server that restarts is back by then

_LOST = (
    ConnectionError,
    TimeoutError,
    TransportError,
    BrokenProcessPool,
    CrashedRun,
    UnfinishedRun,
)
#: What a network file system says of a server that is away for a moment.
_PASSING = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EINTR", "ENETUNREACH", "EHOSTUNREACH")
    if hasattr(errno, name)
}
#: Errors of packages that need not be installed, by name: a worker died, or its node.
_OF_CLUSTERS = {
    "distributed.scheduler.KilledWorker",
    "distributed.comm.core.CommClosedError",
    "ray.exceptions.WorkerCrashedError",
    "ray.exceptions.NodeDiedError",
    "ray.exceptions.LocalRayletDiedError",
    "ray.exceptions.OwnerDiedError",
    "ray.exceptions.OutOfMemoryError",
}


def is_transient(error: BaseException) -> bool:
    """Whether a fault is of the surroundings (network, disk, worker), so that it may pass.

    >>> is_transient(ConnectionResetError()), is_transient(OSError(errno.ENOSPC, "disk full"))
    (True, False)
    """
    if isinstance(error, _LOST):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING
    return any(f"{t.__module__}.{t.__qualname__}" in _OF_CLUSTERS for t in type(error).__mro__)


def may_retry(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's question whether a failed task is to be run again."""
    error = state.result(raise_on_failure=False)
    again = isinstance(error, BaseException) and is_transient(error)
    if again:
        told = {"task": task.name, "attempt": task_run.run_count, "error": type(error).__name__}
        tell("retry", level=WARNING, **told)
    return again
