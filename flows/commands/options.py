"""Arguments and options that several commands take, and what they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit.config import Audit
from audit.config_file import SHIPPED, load_config
from audit.errors import ConfigError

if TYPE_CHECKING:
    from audit.gate import Verdict

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped one.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Run folder. Default: `runs/<audit>/<time>-<digest>`.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. model.train.epochs=3."),
]
PageOption = Annotated[Path, typer.Option("--output", metavar="FILE", help="Page to write.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
KeyOption = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="Whose signature there must be (PEM)."),
]
PrefectOption = Annotated[
    bool, typer.Option("--prefect/--no-prefect", help="Run through Prefect, or directly.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show the log as it is kept in `log.jsonl`.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]


def read_config(path: Path, overrides: list[str] | None) -> Audit:
    """A configuration by path, or a shipped one by name."""
    pairs = {}
    for item in overrides or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise ConfigError(f"--set {item}: must be KEY=VALUE, e.g. seed=3")
        pairs[key.strip()] = value
    if not path.is_file():
        shipped = SHIPPED / f"{path.stem}.yaml"
        named = path.parent in (Path(), Path("configs")) and path.suffix in ("", ".yaml")
        if not named or not shipped.is_file():
            names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
            raise ConfigError(f"{path}: no such file, nor a shipped configuration ({names})")
        path = shipped
    return load_config(path, pairs)


def read_each(path: Path, overrides: list[str] | None) -> list[Audit]:
    """The audits of a configuration: one, or one per label of a multi-label model."""
    from audit.labels import per_label

    return per_label(read_config(path, overrides))


def trusted_verdict(folder: Path) -> Verdict:
    """The verdict of a run that is finished and unaltered; its waivers as they hold today."""
    from audit.judgement import obeyed_verdict, today
    from audit.runs.folder import Run

    return obeyed_verdict(Run(folder), today())
