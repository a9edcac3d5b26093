"""The stages of an audit as Prefect tasks; shards go to workers, and again to others if these die.

A task is a library call on the run folder: it can be done again, and finds what is done already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from logging import WARNING
from pathlib import Path
from typing import Any

from flows import settings

settings.apply()

from prefect import task  # reads its settings when imported
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from audit import steps
from audit.config import Execution
from audit.errors import RunError
from audit.events import tell
from audit.runs.folder import Run
from flows import progress
from flows.artifacts import progress_artifact
from flows.direct import conclude
from flows.faults import DELAYS, RETRIES, is_transient, may_retry
from flows.logs import kept
from flows.runners import AnyRunner, check_address, started_runner

SUBMITTED = 256  # shards known to Prefect at a time: an audit of millions of samples has thousands

STAGE: dict[str, Any] = {
    "cache_policy": NO_CACHE,  # what is done is told by the run folder alone
    "retries": RETRIES,
    "retry_delay_seconds": DELAYS,
    "retry_condition_fn": may_retry,
}


@task(name="check data", **STAGE)
def prepare(folder: str) -> None:
    """Read the data set, quarantine bad samples."""
    steps.prepare(Run(Path(folder)), progress.report)


@task(name="train", **STAGE)
def fit(folder: str) -> None:
    """Train the classifier, where one is trained."""
    steps.fit(Run(Path(folder)), progress.report)


@task(name="plan", **STAGE)
def plan(folder: str) -> list[int]:
    """Choose layer and tests; sizes of the shards."""
    run = Run(Path(folder))
    steps.plan(run)
    return steps.shard_sizes(run)


@task(name="measure", task_run_name="shard {index}", **STAGE)
def measure(folder: str, index: int) -> str:
    """Explain and intervene on one shard."""
    with kept(Path(folder)):  # the worker may be another process
        return str(steps.measure(Run(Path(folder)), index))


@task(name="judge and report", **STAGE)
def judge(folder: str) -> None:
    """Tables, verdict, pictures, report, record."""
    conclude(Run(Path(folder)))


def run_tasks(run: Run, execution: Execution) -> None:
    """All stages of a run; shards where the configuration says."""
    check_address(execution)
    folder = str(run.folder)
    prepare(folder)
    fit(folder)
    measure_all(execution, folder, plan(folder))
    judge(folder)


def measure_all(execution: Execution, folder: str, sizes: Sequence[int]) -> None:
    """Have every shard measured; those whose worker died are given to new ones.

    Raises
    ------
    RunError
        If workers die again and again.
    """
    waiting, done, total = list(range(len(sizes))), 0, sum(sizes)
    with progress_artifact(total) as show:
        for _ in range(1 + RETRIES):
            lost: dict[int, Exception] = {}
            with started_runner(execution) as runner:
                for index, future in _submitted(runner, folder, waiting):
                    progress.report("explain and intervene", done, total)
                    show(done)
                    if fault := _fault(future):
                        lost[index] = fault
                        tell("lost", level=WARNING, shard=index, error=type(fault).__name__)
                    else:
                        done += sizes[index]
            progress.report("explain and intervene", done, total)
            if not lost:
                return
            waiting = list(lost)
    told = ", ".join(map(str, waiting))
    why = next(iter(lost.values()))
    raise RunError(
        f"{folder}: shard(s) {told}: {1 + RETRIES} times the worker was lost ({why}); has it the "
        "memory for execution.batch_size pictures? The same command goes on"
    )


def _submitted(
    runner: AnyRunner, folder: str, indices: Sequence[int]
) -> Iterator[tuple[int, PrefectFuture[Any]]]:
    """Shards on their way, in order."""
    pending: deque[tuple[int, PrefectFuture[Any]]] = deque()
    for index in indices:
        pending.append((index, runner.submit(measure, {"folder": folder, "index": index})))
        if len(pending) == SUBMITTED:
            yield pending.popleft()
    yield from pending


def _fault(future: PrefectFuture[Any]) -> Exception | None:
    """Why a shard was lost by no fault of its own; any other fault is raised."""
    try:
        future.result()
    except Exception as error:
        if not is_transient(error):
            raise
        return error
    return None
