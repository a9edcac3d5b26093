"""Where the events of an audit go: a file in its run folder, and the terminal if asked for."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from threading import Lock
from typing import Any

from audit import __version__
from audit.config import Audit
from audit.events import LOGGER, stage, tell
from audit.runs.folder import Run
from audit.runs.status import progress_of
from flows.settings import telemetry_is_off

VERBOSE = "CUECHECK_VERBOSE"  # in the environment, so that workers and scheduled runs see it


class JsonLines(logging.Formatter):
    """An event as one line of JSON: time, level, event, its fields, and who tells it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII: names of the data are hostile to terminals."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
            "host": gethostname(),
            "process": record.process,
        }
        return json.dumps(told, default=str)


class LogFile(logging.Handler):
    """Appends whole lines to a file, also while others do; a log that cannot be written is none.

    Parameters
    ----------
    path
        The file; a link is not followed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line, in one write; after what a killed process left of its last one."""
        line = self.format(record).encode() + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            file = os.open(self.path, flags, 0o644)
            try:
                size = os.fstat(file).st_size
                torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                os.write(file, b"\n" * torn + line)
            finally:
                os.close(file)
        except OSError:  # a full disk stops the audit where it matters, with its file's name
            return


class _Terminal(logging.StreamHandler[Any]):
    """The stream that standard error is at the moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(JsonLines())


def be_verbose() -> None:
    """Show the events on standard error: in this process, its workers and scheduled runs."""
    os.environ[VERBOSE] = "1"


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Append the events of this process to ``log.jsonl`` of a run; once, however often entered."""
    path = Run(folder.resolve()).log
    with _guard:
        if path not in _kept:
            _kept[path] = _Kept(_handlers(path))
        _kept[path].enter()
    try:
        yield
    finally:
        with _guard:
            if _kept[path].leave():
                del _kept[path]


def _handlers(path: Path) -> list[logging.Handler]:
    return [LogFile(path), _Terminal()] if os.environ.get(VERBOSE) else [LogFile(path)]


@dataclass
class _Kept:
    """Handlers that listen for as long as any thread needs them."""

    handlers: list[logging.Handler]
    needed: int = 0

    def enter(self) -> None:
        if self.needed == 0:
            LOGGER.setLevel(logging.INFO)
            LOGGER.propagate = False  # Prefect would show warnings
            for handler in self.handlers:
                LOGGER.addHandler(handler)
        self.needed += 1

    def leave(self) -> bool:
        self.needed -= 1
        if self.needed == 0:
            for handler in self.handlers:
                LOGGER.removeHandler(handler)
            LOGGER.propagate = True
        return self.needed == 0


_guard = Lock()
_kept: dict[Path, _Kept] = {}


@contextmanager
def logged(run: Run, config: Audit) -> Iterator[None]:
    """Keep the log of a start: what is there already, the stages, and how it ended."""
    with kept(run.folder):
        there = progress_of(run, config)
        tell(
            "resumed" if there.begun else "started",
            audit=config.name,
            version=__version__,
            runner=config.execution.runner,
            at=there.stage,
            shards_there=there.shards_done,
            shards=there.shards,
            telemetry="off" if telemetry_is_off() else "as set in the environment",
        )
        with stage("audit"):
            yield
