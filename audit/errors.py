"""The errors a user can meet. Each says what was wrong, where, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class CuecheckError(Exception):
    """Base of every expected error: shown as one line, without a traceback."""

    exit_code = 2


class ConfigError(CuecheckError):
    """The configuration is wrong: names the file, the line, the key and what is allowed."""


class DataError(CuecheckError):
    """The data set as a whole cannot be used (manifest missing, too many bad samples ...)."""


class ModelError(CuecheckError):
    """The model cannot be built, loaded or explained."""


class RunError(CuecheckError):
    """A run folder is missing something, is altered, or belongs to another audit."""


class BadSample(CuecheckError):
    """One sample cannot be used. It is quarantined with this reason and counted.

    Parameters
    ----------
    reason
        A short phrase starting with a stable kind, e.g. ``"truncated image: ..."``.
    """


def published(error: Exception, *paths: Path | None) -> str:
    """A message for others to read: without where on this machine these paths lie.

    >>> published(RunError("/srv/runs/1: altered"), Path("/srv/runs/1"))
    '1: altered'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    text = str(error)
    for path in filter(None, paths):
        for form in (path.resolve(), path):
            if form.is_absolute() and form.name:
                text = text.replace(str(form), form.name)
    return text
