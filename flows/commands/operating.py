"""Audits that run by themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from audit.errors import ConfigError
from flows.commands.app import app
from flows.commands.options import ConfigArgument, SetOption, VerboseOption, read_each


@app.command()
def schedule(
    config: ConfigArgument,
    cron: Annotated[str, typer.Option("--cron", help='When, e.g. "0 3 * * 1": Mondays at 3.')],
    overrides: SetOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Serve the audit on a schedule until stopped, on your Prefect API or a local server."""
    from flows.schedule import serve

    audit, *others = read_each(config, overrides)
    if others:
        raise ConfigError(
            f"a schedule is for one label; name it, e.g. --set data.target={audit.data.target}"
        )
    if verbose:
        from flows.logs import be_verbose

        be_verbose()
    serve(audit, cron)
