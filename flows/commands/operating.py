"""Audits that run by themselves, and people who decide on them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from audit.errors import ConfigError
from flows.commands.app import app
from flows.commands.options import ConfigArgument, RunArgument, SetOption, read_each
from flows.commands.terminal import plain, screen


class Answer(StrEnum):
    """A human's decision on a run."""

    APPROVE = "approve"
    REJECT = "reject"
    WAIVE = "waive"


@app.command()
def schedule(
    config: ConfigArgument,
    cron: Annotated[str, typer.Option("--cron", help='When, e.g. "0 3 * * 1": Mondays at 3.')],
    overrides: SetOption = None,
) -> None:
    """Serve the audit on a schedule until stopped, on your Prefect API or a local server."""
    from flows.schedule import serve

    audit, *others = read_each(config, overrides)
    if others:
        raise ConfigError(
            f"a schedule is for one label; name it, e.g. --set data.target={audit.data.target}"
        )
    serve(audit, cron)


@app.command(
    epilog='Example: `cuecheck signoff runs/demo/RUN approve --by "Ada" --reason "report read"`'
)
def signoff(
    run: RunArgument,
    decision: Annotated[
        Answer, typer.Argument(help="waive accepts what is CONFIRMED, for a time.")
    ],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")],
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until", formats=["%Y-%m-%d"], help="Last day of a waive. Default: 30 days."
        ),
    ] = None,
) -> None:
    """Decide on a finished run, as `signoff.json` in its folder; the last decision counts.

    `gate` then FAILs what is rejected. Where the policy has `signoff: true`, it lets nothing PASS
    before somebody approved, and obeys waive.
    """
    from audit.judgement import judge_again, today
    from audit.runs.folder import Run
    from audit.signoff import sign_off

    folder = Run(run)
    findings = judge_again(folder, today()).findings
    last = until.date() if until else None
    signed = sign_off(folder, findings, decision.value, by, reason, last)
    screen.print(plain(f"{folder.signoff}: {signed.told}"), soft_wrap=True)
