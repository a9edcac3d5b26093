"""Prefect as a quiet, offline engine with a home of its own. Import before Prefect."""

from __future__ import annotations

import os

from audit.data.sources.scenes import cache_folder

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "1",  # shards share one model and one device
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are told once, by the command
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


def apply() -> None:
    """Set what the user has not set; a ``PREFECT_API_URL`` of the user's wins."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" not in os.environ and "PREFECT_HOME" not in os.environ:
        home = cache_folder() / "prefect"
        home.mkdir(parents=True, exist_ok=True)  # Prefect's server opens its database there
        os.environ["PREFECT_HOME"] = str(home)
