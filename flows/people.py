"""Flow runs that wait for a human's decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from audit.config import Audit
from audit.errors import ConfigError
from audit.gate import Finding
from audit.gate.outputs import markdown_text
from audit.gate.signoff import Words
from audit.judgement import judge_again, obeyed_verdict, today
from audit.runs.folder import Run
from audit.signoff import read_signoff, sign_off
from flows.artifacts import publish

ATTEMPTS = 5


class SignOffInput(RunInput):
    """What Prefect's page asks for before the flow run goes on."""

    decision: Literal["approve", "reject", "waive"]
    by: Words
    reason: Words
    until: date | None = None  # of waive: last day


def ask_for_signoff(run: Run, config: Audit, hours: float) -> None:
    """Suspend the flow run until somebody decides, and write the decision beside the record.

    Who gives an answer that is none is asked again. Nobody is asked who has decided with
    ``cuecheck signoff``.

    Raises
    ------
    ConfigError
        If no answer was one.
    """
    if read_signoff(run) is not None:
        return
    publish(config, obeyed_verdict(run, today()), run)
    findings = judge_again(run, today()).findings
    fault = ""
    for attempt in range(ATTEMPTS):
        answer = suspend_flow_run(
            wait_for_input=SignOffInput.with_initial_data(
                description=_question(config, findings, fault)
            ),
            timeout=round(3600 * hours),
            key=f"sign-off-{attempt}",  # answers are kept by it: started again, each is read again
        )
        try:
            sign_off(run, findings, answer.decision, answer.by, answer.reason, answer.until)
            return
        except ConfigError as error:
            fault = str(error)
    raise ConfigError(f"sign-off: asked {ATTEMPTS} times; {fault}")


def _question(config: Audit, findings: Sequence[Finding], fault: str) -> str:
    confirmed = sum(finding.status == "CONFIRMED" for finding in findings)
    again = f"**{markdown_text(fault, 1000)}**\n\n" if fault else ""
    return (
        f"# {markdown_text(config.name)}: sign off?\n\n{again}"
        f"{confirmed} of {len(findings)} required findings are CONFIRMED. Read the artifacts "
        "`cuecheck-verdict` and `cuecheck-report` first. *waive* accepts what is CONFIRMED until "
        "the day given (default: 30 days)."
    )
