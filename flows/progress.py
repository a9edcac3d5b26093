"""Progress of the current run: one listener per process, silent unless one is set."""

from __future__ import annotations

import sys
import time
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

SECONDS = 30.0  # between two lines where there is no terminal

Listener = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""


_listener: Listener = silent


def report(stage: str, done: int, total: int) -> None:
    """Tell the listener of this process how far a stage is."""
    _listener(stage, done, total)


@contextmanager
def shown(quiet: bool = False) -> Iterator[None]:
    """Show a bar per stage, with counts and time left; without a terminal, a line now and then."""
    if quiet:
        yield
    elif not sys.stderr.isatty():
        with _listening(Lines()):
            yield
    else:
        with _bars() as listen, _listening(listen):
            yield


@contextmanager
def _listening(listener: Listener) -> Iterator[None]:
    global _listener  # noqa: PLW0603 - tasks run in threads of this process and take no callables
    _listener = listener
    try:
        yield
    finally:
        _listener = silent


class Lines:
    """A line on standard error when a stage starts, and every :data:`SECONDS` while it goes on.

    That is what a log of continuous integration can show, and what keeps it from taking the
    process for dead. The epochs of a training are one stage.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage, self._told = "", 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is, if it is time to."""
        kind = stage.partition(" epoch ")[0]
        if kind == self._stage and self._clock() - self._told < SECONDS:
            return
        self._stage, self._told = kind, self._clock()
        print(f"{stage}: {done:,} of {total:,}", file=sys.stderr, flush=True)


@contextmanager
def _bars() -> Iterator[Listener]:
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
        yield listen
