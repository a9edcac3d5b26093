"""Where the shards of an audit are computed: Prefect's task runners, as configured."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from audit.config import Execution
from audit.errors import ConfigError
from audit.models.devices import gpus
from flows.server import LOOPBACK

AnyRunner = TaskRunner[Any]

ANSWERS_IN = 10.0  # seconds
UNSAID = 2  # shards at a time where nothing is said and no GPU counts them
RAY_STORE_BYTES = 100_000_000  # paths alone pass through it


@contextmanager
def started_runner(execution: Execution) -> Iterator[AnyRunner]:
    """A task runner that is ready for shards, and is stopped in the end.

    Raises
    ------
    ConfigError
        If its library is not installed, or no cluster answers at the address.
    """
    try:
        runner = RUNNERS[execution.runner](execution)
    except ImportError as error:
        raise ConfigError(
            f"execution.runner: {execution.runner} needs a library that is not installed "
            f"({error.name}); pip install 'cuecheck[{execution.runner}]'"
        ) from error
    with ExitStack() as stack:
        try:
            stack.enter_context(runner)
            getattr(runner, "client", None)  # Dask's connects when it is first asked for
        except (OSError, ValueError) as error:
            where = f"execution.address {execution.address}" if execution.address else "workers"
            raise ConfigError(
                f"{where}: no {execution.runner} cluster answers ({error})"
            ) from error
        yield runner


def check_address(execution: Execution) -> None:
    """Refuse a cluster that nobody answers for, before anything is computed.

    Raises
    ------
    ConfigError
        Naming the address.
    """
    if execution.address is None:
        return
    parts = urlsplit(execution.address)
    if not parts.hostname:  # Ray's "auto" and the like
        return
    try:
        socket.create_connection((parts.hostname, parts.port or 0), timeout=ANSWERS_IN).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"execution.address: no {execution.runner} cluster {execution.address} answers "
            f"({error}); is it started, and the address right?"
        ) from error


def at_a_time(execution: Execution) -> int:
    """Shards computed at a time: as configured, or one per GPU by workers, or two."""
    if execution.runner == "local":
        return 1
    # Threads share one device.
    of_workers = gpus(execution) if execution.runner in ("dask", "ray") else 0
    return execution.parallel or of_workers or UNSAID


def worker_environments(count: int, devices: int) -> list[dict[str, str]]:
    """What each worker of a machine is told before it starts: the one GPU that it sees.

    >>> worker_environments(3, 2)
    [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '1'}, {'CUDA_VISIBLE_DEVICES': '0'}]
    >>> worker_environments(1, 0)
    [{}]
    """
    if devices == 0:
        return [{} for _ in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": str(index % devices)} for index in range(count)]


def _threads(execution: Execution) -> AnyRunner:
    return ThreadPoolTaskRunner(max_workers=at_a_time(execution))


def _dask(execution: Execution) -> AnyRunner:
    from prefect_dask.task_runners import DaskTaskRunner

    if execution.address is not None:
        return DaskTaskRunner(address=execution.address)
    environments = worker_environments(at_a_time(execution), gpus(execution))
    cluster: Any = _dask_cluster  # typed as one without arguments
    return DaskTaskRunner(cluster_class=cluster, cluster_kwargs={"environments": environments})


def _dask_cluster(environments: list[dict[str, str]]) -> Any:
    """Workers on this machine, each with an environment of its own, reached by TLS on loopback."""
    distributed: Any = import_module("distributed")  # untyped
    security = distributed.Security.temporary()
    common = {"host": LOOPBACK, "protocol": "tls://", "security": security, "dashboard": False}
    nanny = {**common, "nthreads": 1, "memory_limit": 0, "silence_logs": logging.ERROR}
    return distributed.SpecCluster(
        scheduler={"cls": distributed.Scheduler, "options": {**common, "port": 0}},
        workers={
            index: {"cls": distributed.Nanny, "options": {**nanny, "env": environment}}
            for index, environment in enumerate(environments)
        },
        security=security,
        silence_logs=logging.ERROR,
    )


def _ray(execution: Execution) -> AnyRunner:
    from prefect_ray.task_runners import RayTaskRunner

    own: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if execution.address is None:
        own |= {
            "num_cpus": at_a_time(execution),
            "include_dashboard": False,
            "object_store_memory": RAY_STORE_BYTES,
            "_node_ip_address": LOOPBACK,
        }
    runner: AnyRunner = RayTaskRunner(address=execution.address, init_kwargs=own)
    return runner


RUNNERS: dict[str, Callable[[Execution], AnyRunner]] = {
    "local": _threads,
    "threads": _threads,
    "dask": _dask,
    "ray": _ray,
}
