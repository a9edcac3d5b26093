"""What is told on the terminal, and in which words and colours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

screen = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False)

BAD_INPUT = 2
INTERNAL_ERROR = 3
INTERRUPTED = 130
COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "ERROR": "red"}
COLOURS |= {"CLEARED": "green", "CONFIRMED": "red", "WAIVED": "yellow", "KNOWN": "yellow"}


@contextmanager
def interruptible() -> Iterator[None]:
    """Tell that an interrupted run can go on; the command exits 130, as shells do."""
    try:
        yield
    except KeyboardInterrupt as error:
        errors.print("interrupted; the same command goes on where it stopped")
        raise typer.Exit(INTERRUPTED) from error


def plain(text: str) -> Text:
    """Text of the data, without control characters: a terminal would obey them."""
    from audit.gate.outputs import printable

    return Text(printable(text))


def finding_name(finding: dict[str, Any]) -> str:
    """Region and class of a finding.

    >>> finding_name({"region": "face", "target_class": "*"})
    'face / all classes'
    """
    target = "all classes" if finding["target_class"] == "*" else finding["target_class"]
    return f"{finding['region']} / {target}"


def interval(low: float | None, high: float | None) -> str:
    """An interval in whole per cent; "-" where it is unknown."""
    return "-" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def percent(value: float | None) -> str:
    """A signed share in whole per cent; "-" where it is unknown.

    >>> percent(-0.001), percent(0.123), percent(None)
    ('+0 %', '+12 %', '-')
    """
    return "-" if value is None else f"{100 * value:+.0f} %".replace("-0 %", "0 %")
