"""The errors a user can meet. Each says what was wrong, where, and what to do about it."""

from __future__ import annotations


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
