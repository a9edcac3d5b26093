"""Progress of the current run: one listener per process, silent unless one is set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Listener = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""


_listener: Listener = silent


def report(stage: str, done: int, total: int) -> None:
    """Tell the listener of this process how far a stage is."""
    _listener(stage, done, total)


@contextmanager
def shown(quiet: bool = False) -> Iterator[None]:
    """Show a bar per stage, with counts and time left, while a terminal is there to show it on."""
    global _listener  # noqa: PLW0603 - tasks run in threads of this process and take no callables
    if quiet or not sys.stderr.isatty():
        yield
        return
    bars = Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def listen(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        _listener = listen
        try:
            yield
        finally:
            _listener = silent
