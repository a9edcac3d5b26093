"""The command ``cuecheck``: its entry point, and how it tells of errors."""

from __future__ import annotations

import os
import sys
import time
import traceback

from rich.text import Text

from audit.atomic import NO_ROOM
from audit.errors import CuecheckError
from flows import commands
from flows.commands.app import app
from flows.commands.terminal import BAD_INPUT, INTERNAL_ERROR, errors, plain

__all__ = ["app", "commands", "main"]


def main() -> None:
    """Entry point: expected errors are one line and exit 2, others exit 3."""
    started = time.monotonic()
    try:
        app()
    except (CuecheckError, OSError) as error:
        _debug()
        told = [plain(line) for line in _in_words(error).split("\n")]
        errors.print(Text("error: ", "bold red").append(Text("\n").join(told)), soft_wrap=True)
        sys.exit(getattr(error, "exit_code", BAD_INPUT))
    except Exception as error:  # the last line of defence: a bug is reported, not dumped
        _debug()
        after = time.monotonic() - started
        told_bug = f"internal error after {after:.0f} s: {type(error).__name__}: {error} "
        errors.print(plain(told_bug + "(set CUECHECK_DEBUG=1 for the traceback)"), soft_wrap=True)
        sys.exit(INTERNAL_ERROR)


def _debug() -> None:
    if os.environ.get("CUECHECK_DEBUG"):
        traceback.print_exc()


def _in_words(error: Exception) -> str:
    """The message; of an error of the system the file, what was wrong with it, and what to do."""
    if not (isinstance(error, OSError) and error.strerror):
        return str(error)
    told = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    cure = NO_ROOM.get(error.errno or 0)
    return f"{told}; {cure}, and the same command goes on where it stopped" if cure else told
