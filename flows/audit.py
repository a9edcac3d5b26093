"""The audit as a Prefect flow: the same steps as tasks, shards mapped on a task runner."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from flows import settings

settings.apply()

from httpx import TransportError
from prefect import flow, task  # reads its settings when imported
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from audit import steps
from audit.config import Audit
from audit.gate import Verdict
from audit.gate.outputs import printable
from audit.judgement import obeyed_verdict, today
from audit.runs.folder import Run, start_or_resume, working_on
from flows import progress
from flows.artifacts import publish
from flows.direct import conclude

GATE_STATES = {
    "PASS": "GatePassed",
    "FAIL": "GateFailed",
    "INCONCLUSIVE": "GateInconclusive",
    "ERROR": "GateError",
}

#: What Prefect raises where its API is out of reach; RuntimeError is that of its own server.
PREFECT_ERRORS = (PrefectException, RuntimeError, TransportError)


@task(name="check data", cache_policy=NO_CACHE)
def prepare(folder: str) -> None:
    """Read the data set, quarantine bad samples."""
    steps.prepare(Run(Path(folder)), progress.report)


@task(name="train", cache_policy=NO_CACHE)
def fit(folder: str) -> None:
    """Train the classifier, where one is trained."""
    steps.fit(Run(Path(folder)), progress.report)


@task(name="plan", cache_policy=NO_CACHE)
def plan(folder: str) -> list[int]:
    """Choose layer and tests; sizes of the shards."""
    run = Run(Path(folder))
    steps.plan(run)
    return steps.shard_sizes(run)


@task(name="measure", task_run_name="shard {index}", cache_policy=NO_CACHE)
def measure(folder: str, index: int) -> str:
    """Explain and intervene on one shard."""
    return str(steps.measure(Run(Path(folder)), index))


@task(name="judge and report", cache_policy=NO_CACHE)
def judge(folder: str) -> None:
    """Tables, verdict, pictures, report, record."""
    conclude(Run(Path(folder)))


def tell(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Print how a scheduled run ended; one started by hand is told by the command."""
    if flow_run.deployment_id:
        ending = printable(f"{flow_run.name}: {state.name}: {state.message}")
        print(f"{datetime.now():%Y-%m-%d %H:%M} {ending}", file=sys.stderr, flush=True)


@flow(
    name="cuecheck-audit",
    retries=0,
    on_completion=[tell],
    on_failure=[tell],
    on_crashed=[tell],
)
def audit_flow(config: Audit, out: str | None = None) -> State[Any]:
    """Audit a classifier; ends as GatePassed, GateFailed, GateInconclusive or GateError.

    Parameters
    ----------
    config
        The audit, as in the configuration file.
    out
        Run folder; default: the newest unfinished run of this audit, or a new one.
    """
    run = start_or_resume(config, Path(out) if out else None)
    with working_on(run):
        if run.finished:
            steps.check_finished(run)
        else:
            _run_tasks(run)
    verdict = obeyed_verdict(run, today())
    publish(config, verdict, run)
    return gate_state(verdict, run)


def _run_tasks(run: Run) -> None:
    folder = str(run.folder)
    prepare(folder)
    fit(folder)
    sizes = plan(folder)
    progress.report("explain and intervene", 0, sum(sizes))
    # A runner of our own: the flow's would go on with a shard after the run's lock is released.
    runner: ThreadPoolTaskRunner[str] = ThreadPoolTaskRunner(max_workers=1)
    with runner:
        shards = [{"folder": folder, "index": index} for index in range(len(sizes))]
        futures = [runner.submit(measure, shard) for shard in shards]
        for index, future in enumerate(futures):
            future.result()
            progress.report("explain and intervene", sum(sizes[: index + 1]), sum(sizes))
    judge(folder)


def gate_state(verdict: Verdict, run: Run) -> State[Any]:
    """Final state of the flow for a verdict; its name can trigger automations."""
    name = GATE_STATES[verdict.verdict]
    make = Completed if verdict.verdict == "PASS" else Failed
    state: State[Any] = make(name=name, message=f"{verdict.reason} Report: {run.report}")
    return state
