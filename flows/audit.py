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
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Failed

from audit import steps
from audit.config import Audit
from audit.config_file import overridden
from audit.gate import Verdict
from audit.gate.outputs import printable
from audit.judgement import obeyed_verdict, today
from audit.news import worse_than_before
from audit.runs.files import write_text
from audit.runs.folder import Run, runs_of, start_or_resume, working_on
from flows.artifacts import publish
from flows.limits import within_limits
from flows.logs import logged
from flows.people import ask_for_signoff
from flows.tasks import run_tasks

GATE_STATES = {
    "PASS": "GatePassed",
    "FAIL": "GateFailed",
    "INCONCLUSIVE": "GateInconclusive",
    "ERROR": "GateError",
}
WORSENED = "GateWorsened"  # FAIL, and what convicts is new or worse than in the run before

#: What Prefect raises where its API is out of reach; RuntimeError is that of its own server.
PREFECT_ERRORS = (PrefectException, RuntimeError, HTTPError)


def tell(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Print how a scheduled run ended; one started by hand is told by the command."""
    if flow_run.deployment_id:
        ending = printable(f"{flow_run.name}: {state.name}: {state.message}")
        print(f"{datetime.now():%Y-%m-%d %H:%M} {ending}", file=sys.stderr, flush=True)


@flow(
    name="cuecheck-audit",
    retries=0,  # with retries a state of the gate would be taken for a fault, and waited for
    on_completion=[tell],
    on_failure=[tell],
    on_crashed=[tell],
)
def audit_flow(
    config: Audit,
    out: str | None = None,
    overrides: dict[str, Any] | None = None,
    signoff_hours: float = 168,
) -> State[Any]:
    """Audit a classifier; ends as GatePassed, GateFailed, GateInconclusive or GateError.

    A run of a deployment that FAILs on what is new or worse than in the run before ends as
    GateWorsened. Where the policy wants a sign-off, it waits for one first.

    Parameters
    ----------
    config
        The audit, as in the configuration file.
    out
        Run folder; default: the newest unfinished run of this audit, or a new one.
    overrides
        Dotted key to value, for this run alone, e.g. ``{"model.train.epochs": 3}``.
    signoff_hours
        How long a run of a deployment waits for a sign-off.
    """
    config = overridden(config, overrides or {})
    run = start_or_resume(config, Path(out) if out else folder_of_this_flow_run(config))
    finish(run, config)
    if deployment.id and config.policy.signoff:
        ask_for_signoff(run, config, signoff_hours)
    verdict = obeyed_verdict(run, today())
    publish(config, verdict, run)
    news = worse_than_before(run, today()) if deployment.id and verdict.verdict == "FAIL" else []
    return gate_state(verdict, run, news)


def finish(run: Run, config: Audit) -> None:
    """Run every stage that is not done yet, within the limits of the device."""
    with within_limits(config), working_on(run), logged(run, config):
        if run.finished:
            steps.check_finished(run)
            return
        if deployment.id:
            write_text(run.flow_run, str(flow_run.id))
        run_tasks(run, config.execution)


def folder_of_this_flow_run(config: Audit) -> Path | None:
    """The folder that it had before it was suspended, or its process died."""
    mine = [
        run.folder
        for run in runs_of(config)
        if run.flow_run.is_file() and run.flow_run.read_text(encoding="utf-8") == flow_run.id
    ]
    return max(mine, default=None)


def gate_state(verdict: Verdict, run: Run, news: list[str]) -> State[Any]:
    """Final state of the flow for a verdict; its name can trigger automations.

    Parameters
    ----------
    verdict, run
        What was decided on which run.
    news
        What is new or worse than before, of a FAIL, in words.
    """
    name = WORSENED if news else GATE_STATES[verdict.verdict]
    make = Completed if verdict.verdict == "PASS" else Failed
    told = " ".join([*news, verdict.reason, f"Report: {run.report}"])
    state: State[Any] = make(name=name, message=told)
    return state
