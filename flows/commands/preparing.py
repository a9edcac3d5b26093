"""Write and check configurations."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit import __version__
from audit.config_file import json_schema
from audit.errors import ConfigError
from audit.runs.files import write_text
from flows import progress
from flows.commands.app import app
from flows.commands.options import ConfigArgument, JsonOption, RunArgument, SetOption, read_each
from flows.commands.terminal import plain, screen


@app.command()
def init(
    folder: Annotated[str, typer.Argument(help="Folder with a manifest, or with class folders.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("audit.yaml"),
) -> None:
    """Write a commented starting configuration from a data folder."""
    from flows.starter import starting_config

    if out.exists():
        raise ConfigError(f"{out}: exists already; choose another --out")
    if "://" in folder:  # which a Path would mangle
        raise ConfigError(
            f"{folder.partition('://')[0]}://...: init reads folders of this machine; run it on a "
            "copy of the manifest, then set data.root to the URL"
        )
    start = starting_config(Path(folder), out.resolve().parent)
    write_text(out, start.text)
    screen.print(f"{out}: written. Next:", soft_wrap=True)
    for place in start.open_places:
        screen.print(plain(f"- fill in  {place}"), soft_wrap=True)
    screen.print("- say which regions there are, and their roles")
    screen.print(f"- cuecheck validate {shlex.quote(str(out))}", soft_wrap=True)


@app.command()
def validate(
    config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False
) -> None:
    """Check config, data, masks, model and layer on a few samples; print what the audit will do."""
    from audit.preview import preview

    for audit in read_each(config, overrides):
        found = preview(audit).as_dict()
        if as_json:
            screen.print_json(json.dumps(found), ensure_ascii=True)
        else:
            _show_preview(found)


@app.command(epilog="Example: `cuecheck region runs/demo/RUN --cue 2 --name tag --output tag`")
def region(
    run: RunArgument,
    cue: Annotated[int, typer.Option("--cue", help="Number of the unnamed cue in the report.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new region.")],
    output: Annotated[Path, typer.Option("--output", help="Folder to write.")],
) -> None:
    """Name an unnamed cue: write it as a region, with an audit that tests it on fresh pictures."""
    from audit.runs.folder import Run
    from audit.steps import name_cue

    with progress.shown():
        shown_in = name_cue(Run(run), cue, name, output, progress.report)
    config = output / "audit.yaml"
    screen.print(
        plain(
            f"{output}: written; {shown_in} pictures show '{name}', which is forbidden for the "
            f"cue's class. Next: look at its masks, then `cuecheck run {config}`"
        ),
        soft_wrap=True,
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _show_preview(found: dict[str, Any]) -> None:
    for name, value in found["facts"].items():
        screen.print(Text.assemble((f"{name:<12}", "bold"), plain(str(value))))
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("cell (audit part)")
    table.add_column("samples", justify="right")
    table.add_column("clusters", justify="right")
    for cell in found["cells"]:
        table.add_row(plain(cell["cell"]), str(cell["samples"]), str(cell["clusters"]))
    screen.print(table)
    for warning in found["warnings"]:
        screen.print(Text.assemble(("warning ", "yellow"), plain(warning)))
    screen.print(Text.assemble(("ok", "green"), " nothing stands in the way of `cuecheck run`"))
