"""Check, sign and retell the record of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from audit.errors import RunError
from flows.commands.app import app
from flows.commands.options import KeyOption, RunArgument
from flows.commands.terminal import BAD_INPUT, plain, screen


@app.command(epilog="Example: `cuecheck verify runs/demo/RUN --public-key public.pem`")
def verify(
    run: RunArgument,
    public_key: KeyOption = None,
    whole_chain: Annotated[
        bool, typer.Option("--whole-chain", help="An earlier run that is not there is a fault.")
    ] = False,
) -> None:
    """Check record, signature and the chain of earlier runs. Exit 0 all right, 2 not.

    Without `--public-key` a signature is not looked at.
    """
    from audit.judgement import today
    from audit.runs.folder import Run
    from audit.runs.verify import verify_run
    from audit.signoff import read_signoff

    found = verify_run(Run(run), today(), public_key=public_key, whole_chain=whole_chain)
    try:
        if (signed := read_signoff(Run(run))) is not None:
            found.notes.append(f"{signed.told} (who it was is self-declared)")
    except RunError as error:
        found.faults.append(str(error))
    for kind, colour, sentences in (
        ("right", "green", found.right),
        ("note", "yellow", found.notes),
        ("wrong", "red", found.faults),
    ):
        for sentence in sentences:
            line = Text.assemble((f"{kind:<7}", colour), plain(sentence))
            screen.print(line, soft_wrap=True)
    if found.faults:
        raise typer.Exit(BAD_INPUT)


@app.command(epilog="A key: `openssl genpkey -algorithm ed25519 -out private.pem`")
def sign(
    run: RunArgument,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="Private Ed25519 key (PEM); only read.")
    ],
) -> None:
    """Sign the record of a finished run, as `record.sig` in its folder."""
    from audit.runs.folder import Run
    from audit.runs.signature import sign_run

    folder = Run(run)
    sign_run(folder, key)
    screen.print(plain(f"{folder.signature}: written"), soft_wrap=True)


@app.command("record", epilog="Example: `cuecheck record runs/demo/RUN --output record.md`")
def write_record(
    run: RunArgument,
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Markdown file to write.")
    ] = Path("audit-record.md"),
) -> None:
    """Write what was tested, with what result, for regulators: model card, AI Act, NIST AI RMF."""
    from reports.record import build_record

    screen.print(plain(str(build_record(run, output))), soft_wrap=True)
