"""Prefect as a quiet, offline engine with a home of its own. Import before Prefect."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from audit.atomic import NO_ROOM
from audit.data.cache import cache_folder
from audit.errors import RunError

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "1",  # shards share one model and one device
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are told once, by the command
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # of a full disk it dumps tracebacks for minutes
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DASK_LOGGING__DISTRIBUTED": "error",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


ROOM = 8_000_000  # bytes that the database of Prefect's server takes at first, about

#: Settings without which Prefect, Ray or MLflow tell their makers about their use.
TELEMETRY = (
    "DO_NOT_TRACK",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
    "RAY_USAGE_STATS_ENABLED",
    "MLFLOW_DISABLE_TELEMETRY",
)


def telemetry_is_off() -> bool:
    """Whether the telemetry of the libraries that cuecheck starts is off, as :func:`apply` has it.

    It is where none of the settings says otherwise.
    """
    return all(os.environ.get(name, QUIET[name]) == QUIET[name] for name in TELEMETRY)


def apply() -> None:
    """Set what the user has not set; a ``PREFECT_API_URL`` of the user's wins.

    Raises
    ------
    RunError
        If Prefect's home cannot be written.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ:
        return
    os.environ.setdefault("PREFECT_HOME", str(cache_folder() / "prefect"))
    check_home()


def check_home() -> None:
    """See whether Prefect's server can keep its database, where it is not the user's.

    Raises
    ------
    RunError
        If Prefect's home cannot be written, or has no room.
    """
    if "PREFECT_API_URL" in os.environ:
        return
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, ROOM)
    except OSError as error:
        cure = NO_ROOM.get(error.errno or 0)
        raise RunError(
            f"PREFECT_HOME {home}: cannot be written ({error.strerror}); "
            f"{f'{cure}, ' if cure else ''}choose another folder, or use --no-prefect"
        ) from error
