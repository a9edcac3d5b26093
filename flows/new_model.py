"""The flow for a new model: audit it on the pinned data, hold it against the last one, gate it."""

from __future__ import annotations

from typing import Any

from flows import settings

settings.apply()

from prefect import flow  # reads its settings when imported
from prefect.client.schemas import State

from audit.config import Audit
from audit.gate.findings import name_of
from audit.judgement import Judgement
from flows.artifacts import publish
from flows.audit import finish, gate_state, tell
from flows.candidate import Candidate, judge_candidate


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
    """
    candidate = Candidate(checkpoint, mlflow_model, baseline, expect_data, alias)
    run, judgement = judge_candidate(config, candidate, out, finish)
    publish(judgement.config, judgement.verdict, run)
    return gate_state(judgement.verdict, run, _news(judgement))


def _news(judgement: Judgement) -> list[str]:
    """What is new or worse than in the baseline, in words."""
    blocking = [f for f in judgement.findings if f.status == "CONFIRMED" and f.change]
    return [f"{str(f.change).capitalize()}: {name_of(f)}." for f in blocking]
