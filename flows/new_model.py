"""The flow for a new model: audit it on the pinned data, hold it against the last one, gate it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows import settings

settings.apply()

from prefect import flow  # reads its settings when imported
from prefect.client.schemas import State
from prefect.runtime import deployment

from audit.config import Audit
from audit.gate.findings import name_of
from audit.judgement import Judgement
from audit.runs.folder import Run
from flows.artifacts import publish
from flows.audit import finish, folder_of_this_flow_run, gate_state, tell
from flows.candidate import Candidate, judge_candidate
from flows.people import ask_for_signoff


@flow(
    name="cuecheck-new-model",
    retries=0,
    on_completion=[tell],
    on_failure=[tell],
    on_crashed=[tell],
)
def new_model_flow(
    config: Audit,
    checkpoint: str | None = None,
    mlflow_model: str | None = None,
    baseline: str | None = None,
    expect_data: str | None = None,
    alias: str | None = None,
    out: str | None = None,
    signoff_hours: float = 168,
) -> State[Any]:
    """Audit a new model and gate it; ends as the audit flow does.

    Parameters
    ----------
    config
        The audit; its ``model`` section says how the weights are used.
    checkpoint, mlflow_model, baseline, expect_data, alias
        As in :class:`flows.candidate.Candidate`.
    out
        Run folder.
    signoff_hours
        How long it waits for a sign-off, where the policy wants one.
    """

    def finish_and_ask(run: Run, config: Audit) -> None:
        finish(run, config)
        if deployment.id and config.policy.signoff:
            ask_for_signoff(run, config, signoff_hours)

    candidate = Candidate(checkpoint, mlflow_model, baseline, expect_data, alias)
    run, judgement = judge_candidate(
        config,
        candidate,
        finish_and_ask,
        lambda config: Path(out) if out else folder_of_this_flow_run(config),
    )
    publish(judgement.config, judgement.verdict, run)
    return gate_state(judgement.verdict, run, _news(judgement))


def _news(judgement: Judgement) -> list[str]:
    """What is new or worse than in the baseline, in words."""
    blocking = [f for f in judgement.findings if f.status == "CONFIRMED" and f.change]
    return [f"{str(f.change).capitalize()}: {name_of(f)}." for f in blocking]
