"""Audits on a schedule: a Prefect deployment served from this process."""

from __future__ import annotations

import sys
from typing import Any

from flows import settings

settings.apply()

import yaml
from httpx import TransportError
from prefect import Flow
from prefect import serve as serve_deployments  # reads its settings when imported
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectException
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from audit.config import Audit
from audit.errors import ConfigError, RunError
from flows.alerts import call_on_alarm, check_webhook
from flows.audit import audit_flow
from flows.new_model import new_model_flow
from flows.server import prefect_api

POOL_FILE = """\
# A Prefect project file: `prefect deploy --all --prefect-file THIS` registers the audit in a work
# pool. A worker of it needs cuecheck, and the data and the folder of runs by the same paths:
#   prefect work-pool create POOL --type process; prefect worker start --pool POOL
# Write it again when the configuration changes: parameters.config is a copy of it.
"""


def serve(config: Audit, cron: str | None, webhook: str | None) -> None:
    """Serve the audit, and that of new models, until stopped; one run at a time.

    Raises
    ------
    ConfigError
        If the cron expression is not one.
    RunError
        If Prefect cannot be reached.
    """
    deployments = _deployments(config, cron)
    if webhook is not None:
        check_webhook(webhook)  # before a server is started
    with prefect_api():
        when = f'scheduled for "{cron}"' if cron else "waits to be called"
        print(f"{config.name}: {when} until stopped (Ctrl-C)", file=sys.stderr)
        try:
            if webhook is not None:
                call_on_alarm(config, webhook)
            serve_deployments(
                *deployments, pause_on_shutdown=False, print_starting_message=False, limit=1
            )
        except TransportError as error:
            raise RunError(f"Prefect cannot be reached ({error}); check PREFECT_API_URL") from error


def prefect_yaml(config: Audit, cron: str | None, pool: str) -> str:
    """A ``prefect.yaml`` that registers the same deployments in a work pool.

    Raises
    ------
    ConfigError
        If the cron expression is not one.
    """
    told = [
        {
            "name": one.name,
            "description": one.description,
            "entrypoint": one.entrypoint,
            "parameters": one.parameters,
            "enforce_parameter_schema": one.enforce_parameter_schema,
            "schedules": [{"cron": cron, "timezone": "UTC"}] if cron and one.schedules else [],
            "work_pool": {"name": pool},
        }
        for one in _deployments(config, cron)
    ]
    file = {"name": "cuecheck", "pull": None, "deployments": told}
    text: str = yaml.safe_dump(file, sort_keys=False, allow_unicode=True)
    return POOL_FILE.replace("POOL", pool) + text


def _deployments(config: Audit, cron: str | None) -> list[RunnerDeployment]:
    """The audit, on its schedule, and the flow for new models, which waits to be called."""
    return [_deployment(audit_flow, config, cron), _deployment(new_model_flow, config, None)]


def _deployment(flow: Flow[Any, Any], config: Audit, cron: str | None) -> RunnerDeployment:
    try:
        deployment = flow.to_deployment(
            name=config.name,
            cron=cron,
            parameters={"config": _parameters(config)},
            # By module: loaded as a file, its folder would hide the package "audit".
            entrypoint_type=EntrypointType.MODULE_PATH,
            # Prefect drops every key "required" from the schema, ours too; the flow checks itself.
            enforce_parameter_schema=config.policy.required is None,
            description=config.description or None,
        )
    except (ValueError, PrefectException) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        reason = told.removeprefix("Value error, ").splitlines()[0]
        raise ConfigError(f'--cron "{cron}": {reason}; write e.g. "0 3 * * 1"') from error
    assert isinstance(deployment, RunnerDeployment)  # a coroutine only inside an event loop
    return deployment


def _parameters(config: Audit) -> dict[str, Any]:
    """The configuration; without the key that Prefect's check would take for JSON Schema's."""
    values = config.model_dump(mode="json")
    if values["policy"]["required"] is None:
        del values["policy"]["required"]
    return values
