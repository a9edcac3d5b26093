"""Audits on a schedule: a Prefect deployment served from this process."""

from __future__ import annotations

import sys

from flows import settings

settings.apply()

from httpx import TransportError
from prefect import serve as serve_deployments  # reads its settings when imported
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectException
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from audit.config import Audit
from audit.errors import ConfigError, RunError
from flows.audit import audit_flow
from flows.server import prefect_api


def serve(config: Audit, cron: str) -> None:
    """Serve the audit until stopped; one run at a time, each telling how it ended.

    Raises
    ------
    ConfigError
        If the cron expression is not one.
    RunError
        If Prefect cannot be reached.
    """
    deployment = _deployment(config, cron)
    with prefect_api():
        print(f'{config.name}: scheduled for "{cron}" until stopped (Ctrl-C)', file=sys.stderr)
        try:
            serve_deployments(
                deployment, pause_on_shutdown=False, print_starting_message=False, limit=1
            )
        except TransportError as error:
            raise RunError(f"Prefect cannot be reached ({error}); check PREFECT_API_URL") from error


def _deployment(config: Audit, cron: str) -> RunnerDeployment:
    try:
        deployment = audit_flow.to_deployment(
            name=config.name,
            cron=cron,
            parameters={"config": config.model_dump(mode="json")},
            # By module: loaded as a file, its folder would hide the package "audit".
            entrypoint_type=EntrypointType.MODULE_PATH,
            # Prefect's check takes our key "required" for JSON Schema's; the flow checks itself.
            enforce_parameter_schema=False,
            description=config.description or None,
        )
    except (ValueError, PrefectException) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        reason = told.removeprefix("Value error, ").splitlines()[0]
        raise ConfigError(f'--cron "{cron}": {reason}; write e.g. "0 3 * * 1"') from error
    assert isinstance(deployment, RunnerDeployment)  # a coroutine only inside an event loop
    return deployment
