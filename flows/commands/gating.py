"""Gate a release on a run, and print the files that do so in a pipeline."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from audit.config_file import SHIPPED
from flows.commands.app import app
from flows.commands.options import JsonOption, RunArgument, trusted_verdict
from flows.commands.terminal import COLOURS, finding_name, plain, screen


class GateFile(StrEnum):
    """A ready file for a pipeline."""

    GITHUB = "github"
    GITLAB = "gitlab"
    SCRIPT = "script"

    @property
    def file(self) -> str:
        """Its name among those that are shipped."""
        return {"github": "github.yml", "gitlab": "gitlab.yml", "script": "pre-release.sh"}[self]


@app.command(
    epilog="Example: `cuecheck gate runs/demo/20260101T000000-0a1b2c3d && ./release.sh`. "
    "A policy to start from: `cuecheck policy > policy.yaml`."
)
def gate(
    run: RunArgument,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Judge again by this policy (YAML)."),
    ] = None,
    waivers: Annotated[
        Path | None,
        typer.Option("--waivers", metavar="FILE", help="Findings accepted for a time (YAML)."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", metavar="RUN", help="Only what is new or worse than in this run blocks."
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Check that the verdict follows from the tables.")
    ] = False,
    expect_model: Annotated[
        Path | None,
        typer.Option(
            "--expect-model", metavar="FILE", help="ERROR unless this file of weights was audited."
        ),
    ] = None,
    expect_data: Annotated[
        str | None,
        typer.Option(
            "--expect-data",
            metavar="HASH|FILE",
            help="ERROR unless the data has this SHA-256 (sha256.data), or this manifest.",
        ),
    ] = None,
    max_age: Annotated[
        int | None,
        typer.Option("--max-age", metavar="DAYS", min=0, help="ERROR if the run is older."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FOLDER", help="Write the judgement there: JSON, JUnit XML, SARIF."
        ),
    ] = None,
    step_summary: Annotated[
        bool,
        typer.Option("--step-summary", help="Append the summary to $GITHUB_STEP_SUMMARY."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Exit 0 PASS, 1 FAIL, 4 ERROR, 5 INCONCLUSIVE; 2 for a missing or altered run.

    Without options it obeys the stored verdict. With them the run is judged again, from its folder
    alone, which stays as it is.
    """
    from audit.release import Release
    from flows.gate import Request, judge_for_pipeline

    release = Release(expect_model, expect_data, max_age)
    request = Request(run, policy, waivers, baseline, recompute, release, output, step_summary)
    if request.obeys:
        verdict = trusted_verdict(run)
        tell_verdict(verdict, [], as_json)
        raise typer.Exit(verdict.exit_code)
    judgement = judge_for_pipeline(request)
    tell_verdict(judgement.verdict, judgement.records(), as_json)
    raise typer.Exit(judgement.verdict.exit_code)


@app.command("policy", epilog="Example: `cuecheck policy > policy.yaml`")
def print_policy() -> None:
    """Print a policy to start from, its defaults explained."""
    typer.echo((SHIPPED / "gate" / "policy.yaml").read_text(encoding="utf-8"), nl=False)


@app.command(
    "gate-file", epilog="Example: `cuecheck gate-file github > .github/workflows/audit.yml`"
)
def print_gate_file(
    kind: Annotated[GateFile, typer.Argument(help="For which pipeline.")],
) -> None:
    """Print a file to start from: a GitHub workflow, a GitLab CI job or a pre-release script."""
    typer.echo((SHIPPED / "gate" / kind.file).read_text(encoding="utf-8"), nl=False)


def tell_verdict(verdict: Any, findings: list[dict[str, Any]], as_json: bool) -> None:
    """The verdict, its warnings, and which findings are accepted or changed."""
    if as_json:
        told = json.loads(verdict.to_json())
        told |= {"findings": findings} if findings else {}
        screen.print_json(json.dumps(told), ensure_ascii=True)
        return
    badge = Text(verdict.verdict, COLOURS[verdict.verdict])
    screen.print(badge.append("  ").append(plain(verdict.reason)), soft_wrap=True)
    for finding in findings:
        if finding["change"] or finding["status"] == "WAIVED":
            what = " ".join(filter(None, (finding["status"], finding["change"])))
            line = Text(f"{what:<20}", COLOURS[finding["status"]])
            about = plain(f"{finding_name(finding)}: {finding['reason']}")
            screen.print(line.append(about), soft_wrap=True)
    for warning in verdict.warnings:
        screen.print(Text.assemble(("warning ", "yellow"), plain(warning)), soft_wrap=True)
