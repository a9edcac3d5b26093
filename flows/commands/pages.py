"""Write pages over runs that are finished."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.errors import RunError
from flows.commands.app import app
from flows.commands.options import PageOption, RunArgument
from flows.commands.terminal import plain, screen


@app.command()
def report(run: RunArgument) -> None:
    """Build report.html again from the run folder; needs neither model nor data."""
    from audit.runs.folder import Run
    from audit.runs.record import rebuilding_report
    from reports.build import build_report

    if not run.is_dir():
        raise RunError(f"{run}: no such run folder")
    with rebuilding_report(Run(run)):
        path = build_report(run)
    screen.print(str(path), soft_wrap=True)


@app.command(epilog="Example: `cuecheck compare runs/demo/LAST runs/demo/NEW --output what.html`")
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Run folder.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Run folder.")],
    output: PageOption = Path("compare.html"),
) -> None:
    """Write a page that says what changed from one run to another; needs no model.

    Runs of two audits can be compared, as long as they tell the same classes apart.
    """
    from reports.compare import build_comparison

    screen.print(plain(str(build_comparison(before, after, output))), soft_wrap=True)


@app.command(epilog="Example: `cuecheck index runs`")
def index(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder with runs, at any depth.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Page to write. Default: RUNS/index.html."),
    ] = None,
) -> None:
    """Write a page over all runs below a folder: verdicts, accuracy, trends, links to reports."""
    from reports.index import build_index

    screen.print(plain(str(build_index(runs, output or runs / "index.html"))), soft_wrap=True)
