"""How runs stand, and room on the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit.errors import RunError
from flows.commands.app import app
from flows.commands.options import JsonOption
from flows.commands.terminal import plain, screen

if TYPE_CHECKING:
    from audit.runs.folder import Run
    from audit.runs.status import Status

PlaceArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, or a folder that holds runs.")
]


@app.command(epilog="Example: `cuecheck status runs`")
def status(run: PlaceArgument, as_json: JsonOption = False) -> None:
    """Tell how far a run is, whether it is worked on, and what to do; of a folder, of each run.

    Of a folder of runs only the files that a verdict needs are checked for alterations.
    """
    from audit.runs.status import status_of

    runs = _runs(run)
    several = len(runs) > 1 or runs[0].folder != run
    found = [status_of(one, quick=several) for one in runs]
    if as_json:
        told = [one.as_json() for one in found]
        screen.print_json(json.dumps(told if several else told[0]), ensure_ascii=True)
    elif several:
        _tell_each(found)
    else:
        _tell(found[0])


@app.command(epilog="Example: `cuecheck clean runs --stale`, then the same with `--yes`")
def clean(
    run: PlaceArgument,
    stale: Annotated[
        bool, typer.Option("--stale", help="Also unfinished runs that were given up.")
    ] = False,
    expired: Annotated[
        bool, typer.Option("--expired", help="Also runs past the day up to which to keep them.")
    ] = False,
    linked: Annotated[
        bool,
        typer.Option("--linked", help="Of these also runs that a later record names."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; else it is only told.")] = False,
) -> None:
    """Free what can go without loss: leftovers of killed processes, shards of finished runs."""
    from audit.judgement import today
    from audit.runs.cleaning import Choice, clean

    if linked and not expired:
        raise RunError("--linked: only with --expired")
    found = clean(_runs(run), Choice(today(), stale, expired, linked), delete=yes)
    for waste in found.waste:
        told = f"{_size(waste.bytes):>9}  {waste.path}: {waste.why}"
        screen.print(plain(told), soft_wrap=True)
    for sentence in found.kept:
        screen.print(plain(f"kept       {sentence}"), soft_wrap=True)
    if not found.waste:
        screen.print("nothing to delete")
    elif yes:
        screen.print(f"{_size(found.bytes)} freed")
    else:
        screen.print(f"{_size(found.bytes)} can be freed; --yes does it")


def _runs(folder: Path) -> list[Run]:
    """The run, or those below a folder.

    Raises
    ------
    RunError
        If there is none.
    """
    from audit.listing import find_runs
    from audit.runs.folder import Run

    if not folder.is_dir() or folder.is_symlink():
        raise RunError(f"{folder}: no such folder, or a link to one")
    own = Run(folder)
    runs = [own] if own.identity.is_file() or own.finished else list(find_runs(folder))
    if not runs:
        raise RunError(f"{folder}: no run folder, nor does one lie below it")
    return runs


def _tell(found: Status) -> None:
    lines = {
        "state": found.state if found.why is None else f"{found.state}: {found.why}",
        "audit": found.audit,
        "verdict": found.verdict,
        "stage": found.stage,
        "shards": None if found.shards is None else f"{found.shards_done} of {found.shards}",
        "samples": _samples(found),
        "started": found.started,
        "written": found.written,
        "size": _size(found.bytes),
        "next": found.todo,
    }
    for name, value in lines.items():
        if value is not None:
            screen.print(plain(f"{name:<8} {value}"), soft_wrap=True)


def _samples(found: Status) -> str | None:
    if found.usable is None:
        return None
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.kinds.items())
    told = f"{found.usable:,} usable, {found.quarantined:,} quarantined"
    return f"{told} ({kinds})" if kinds else told


def _tell_each(found: list[Status]) -> None:
    """A line for each run, in columns; wider than a terminal rather than cut."""
    rows = [("state", "verdict", "stage", "shards", "size", "written", "run")]
    for one in found:
        shards = "-" if one.shards is None else f"{one.shards_done}/{one.shards}"
        told = (one.state, one.verdict or "-", one.stage or "-", shards, _size(one.bytes))
        rows.append((*told, one.written or "-", one.folder))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        screen.print(plain(line.rstrip()), soft_wrap=True)


def _size(count: int) -> str:
    """Bytes in words.

    >>> _size(999), _size(1_500_000)
    ('999 B', '1.5 MB')
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
