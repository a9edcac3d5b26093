"""Audits that run by themselves, and people who decide on them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from audit.errors import ConfigError
from flows import progress
from flows.commands.app import app
from flows.commands.gating import tell_verdict
from flows.commands.options import (
    ConfigArgument,
    JsonOption,
    OutOption,
    QuietOption,
    RunArgument,
    SetOption,
    VerboseOption,
    read_config,
    read_each,
)
from flows.commands.terminal import interruptible, plain, screen


class Answer(StrEnum):
    """A human's decision on a run."""

    APPROVE = "approve"
    REJECT = "reject"
    WAIVE = "waive"


@app.command(
    epilog='Example: `cuecheck schedule audit.yaml --cron "0 3 * * 1"`. A new model, at any time: '
    "`prefect deployment run cuecheck-new-model/AUDIT -p checkpoint=/path/of/weights`"
)
def schedule(
    config: ConfigArgument,
    cron: Annotated[
        str | None, typer.Option("--cron", help='When, e.g. "0 3 * * 1": Mondays at 3.')
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            metavar="URL",
            envvar="CUECHECK_WEBHOOK",
            help="Called when a run finds a new or worse cue, or cannot be run.",
        ),
    ] = None,
    work_pool: Annotated[
        str | None,
        typer.Option(
            "--work-pool",
            metavar="NAME",
            help="Print a prefect.yaml for this pool instead, for `prefect deploy`.",
        ),
    ] = None,
    overrides: SetOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Serve the audit on a schedule until stopped, on your Prefect API or a local server.

    New models are audited on call by the same process.
    """
    from flows.schedule import prefect_yaml, serve

    audit, *others = read_each(config, overrides)
    if others:
        raise ConfigError(
            f"a schedule is for one label; name it, e.g. --set data.target={audit.data.target}"
        )
    if work_pool is not None:
        if webhook is not None:
            raise ConfigError("--webhook: not with --work-pool; make an automation in Prefect")
        typer.echo(prefect_yaml(audit, cron, work_pool), nl=False)
        return
    if verbose:
        from flows.logs import be_verbose

        be_verbose()
    serve(audit, cron, webhook)


@app.command(
    "new-model",
    epilog="Example: `cuecheck new-model audit.yaml --checkpoint new.pt --baseline runs/demo/LAST`",
)
def new_model(
    config: ConfigArgument,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", metavar="FILE", help="Weights of the new model.")
    ] = None,
    mlflow_model: Annotated[
        str | None,
        typer.Option(
            "--mlflow",
            metavar="URI",
            help="Or models:/NAME/VERSION or models:/NAME@ALIAS; gets the verdict as tags.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="RUN", help="Only what is new or worse blocks."),
    ] = None,
    expect_data: Annotated[
        str | None,
        typer.Option("--expect-data", metavar="HASH|FILE", help="As for `gate`."),
    ] = None,
    alias: Annotated[
        str | None,
        typer.Option("--alias", help="MLflow alias of versions that PASS alone."),
    ] = None,
    out: OutOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Audit new weights on the audit's data and gate them: exit codes as of `gate`."""
    from flows.candidate import Candidate, judge_candidate
    from flows.direct import run_directly

    audit = read_config(config, overrides)
    candidate = Candidate(checkpoint, mlflow_model, baseline, expect_data, alias)
    with interruptible(), progress.shown(quiet or as_json):
        run, judgement = judge_candidate(
            audit, candidate, lambda run, _: run_directly(run), lambda _: out
        )
    tell_verdict(judgement.verdict, judgement.records(), as_json)
    if not (as_json or quiet):
        screen.print(plain(f"report: {run.report}"), soft_wrap=True)
    raise typer.Exit(judgement.verdict.exit_code)


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
    from audit.gate.signoff import WAIVES_NOTHING
    from audit.judgement import judge_again, today
    from audit.runs.folder import Run
    from audit.signoff import sign_off

    folder = Run(run)
    findings = judge_again(folder, today()).findings
    last = until.date() if until else None
    signed = sign_off(folder, findings, decision.value, by, reason, last)
    screen.print(plain(f"{folder.signoff}: {signed.told}"), soft_wrap=True)
    if signed.decision == "waive" and not folder.config().policy.signoff:
        screen.print(Text.assemble(("warning ", "yellow"), WAIVES_NOTHING), soft_wrap=True)
