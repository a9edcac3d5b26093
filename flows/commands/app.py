"""The command ``cuecheck`` itself; the modules beside this one add its commands."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Audit image classifiers for data-set bias, and gate releases on the result.",
    epilog="Start with `cuecheck demo`. Exit codes of `gate`: 0 PASS, 1 FAIL, 2 bad input, "
    "3 internal error, 4 ERROR, 5 INCONCLUSIVE.",
)
