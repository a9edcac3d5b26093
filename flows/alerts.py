"""Prefect automations: a webhook that is called where a scheduled audit finds something new."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from prefect.automations import Automation, EventTrigger, Posture
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from audit.config import Audit
from audit.errors import ConfigError

#: New or worse cues, and audits that could not be run: states of flow runs that somebody must see.
ALARMING = ("GateWorsened", "GateError", "Failed", "Crashed", "TimedOut")

_TEXT = "flow_run.name ~ ': ' ~ flow_run.state.name ~ ': ' ~ flow_run.state.message"
PAYLOAD = '{"text": {{ (' + _TEXT + ") | tojson }}}"  # as Slack, Mattermost and Teams take it


def call_on_alarm(config: Audit, url: str) -> None:
    """Have a URL called (POST, JSON with ``text``) when a run of the audit ends alarmingly.

    Block and automation are named by the audit, and replaced where they are there.
    """
    name = f"cuecheck-{block_name(config.name)}"
    block: Any = Webhook(url=url, headers={"Content-Type": "application/json"})
    document = block.save(name, overwrite=True)
    automation = Automation(
        name=name,
        description=f"cuecheck: new or worse cues, or faults, of the audit {config.name}",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in ALARMING},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "deployment", "prefect.resource.name": config.name}
            ),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=document, payload=PAYLOAD)],
    )
    _replace(automation)


def check_webhook(url: str) -> None:
    """Refuse what is no address of the web, without repeating it: it may be a secret.

    >>> check_webhook("https://hooks.example.org/a")
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("--webhook: must be an address such as https://hooks.example.org/...")


def _replace(automation: Automation) -> None:
    automations: Any = Automation  # typed as coroutines, which they are in an event loop alone
    with suppress(ValueError, ObjectNotFound):
        automations.read(name=automation.name).delete()
    automations.create(automation)


def block_name(audit: str) -> str:
    """A name as Prefect's blocks take it: lower-case letters, digits and dashes.

    >>> block_name("Chest_X-ray.2")
    'chest-x-ray-2'
    """
    return "".join(letter if letter.isalnum() else "-" for letter in audit.lower()).strip("-")
