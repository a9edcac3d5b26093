"""Flow runs that wait for a human's decision."""

from __future__ import annotations

from datetime import date
from typing import Literal

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from audit.config import Audit
from audit.gate.outputs import markdown_text
from audit.judgement import judge_again, today
from audit.runs.folder import Run
from audit.signoff import read_signoff, sign_off


class SignOffInput(RunInput):
    """What Prefect's page asks for before the flow run goes on."""

    decision: Literal["approve", "reject", "waive"]
    by: str
    reason: str
    until: date | None = None  # of waive: last day


def ask_for_signoff(run: Run, config: Audit, hours: float) -> None:
    """Suspend the flow run until somebody decides, and write the decision beside the record.

    Nobody is asked again who has decided with ``cuecheck signoff``.
    """
    if read_signoff(run) is not None:
        return
    findings = judge_again(run, today()).findings
    confirmed = sum(finding.status == "CONFIRMED" for finding in findings)
    about = (
        f"# {markdown_text(config.name)}: sign off?\n\n"
        f"{confirmed} of {len(findings)} required findings are CONFIRMED. Read the artifacts "
        f"`cuecheck-verdict` and `cuecheck-report` first. *waive* accepts what is CONFIRMED until "
        "the day given (default: 30 days)."
    )
    answer = suspend_flow_run(
        wait_for_input=SignOffInput.with_initial_data(description=about),
        timeout=round(3600 * hours),
        key="sign-off",
    )
    sign_off(run, findings, answer.decision, answer.by, answer.reason, answer.until)
