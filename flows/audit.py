"""The audit as a Prefect flow, and the states that it ends in."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from flows import settings

settings.apply()

from httpx import HTTPError
from prefect import flow  # reads its settings when imported
from prefect.client.schemas import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.states import Completed, Failed

from audit import steps
from audit.config import Audit
from audit.gate import Verdict
from audit.gate.outputs import printable
from audit.judgement import obeyed_verdict, today
from audit.runs.folder import Run, start_or_resume, working_on
from flows.artifacts import publish
from flows.logs import logged
from flows.tasks import run_tasks

GATE_STATES = {
    "PASS": "GatePassed",
    "FAIL": "GateFailed",
    "INCONCLUSIVE": "GateInconclusive",
    "ERROR": "GateError",
}

#: What Prefect raises where its API is out of reach; RuntimeError is that of its own server.
PREFECT_ERRORS = (PrefectException, RuntimeError, HTTPError)


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
    with working_on(run), logged(run, config):
        if run.finished:
            steps.check_finished(run)
        else:
            run_tasks(run, config.execution)
    verdict = obeyed_verdict(run, today())
    publish(config, verdict, run)
    return gate_state(verdict, run)


def gate_state(verdict: Verdict, run: Run) -> State[Any]:
    """Final state of the flow for a verdict; its name can trigger automations."""
    name = GATE_STATES[verdict.verdict]
    make = Completed if verdict.verdict == "PASS" else Failed
    state: State[Any] = make(name=name, message=f"{verdict.reason} Report: {run.report}")
    return state
