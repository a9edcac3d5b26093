"""Audits on a schedule: a Prefect deployment served from this process."""

from __future__ import annotations

from flows import settings

settings.apply()

from prefect import serve as serve_deployments  # reads its settings when imported
from prefect.exceptions import PrefectException

from audit.config import Audit
from audit.errors import ConfigError
from flows.audit import audit_flow


def serve(config: Audit, cron: str) -> None:
    """Serve the audit until stopped; one run at a time.

    Raises
    ------
    ConfigError
        If the cron expression is not one.
    """
    try:
        deployment = audit_flow.to_deployment(
            name=config.name,
            cron=cron,
            parameters={"config": config.model_dump(mode="json")},
            concurrency_limit=1,
            description=config.description or None,
        )
    except (ValueError, PrefectException) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'--cron "{cron}": {reason}; write e.g. "0 3 * * 1"') from error
    serve_deployments(deployment, pause_on_shutdown=False, limit=1)
