"""Schedules on a real local server: what is asked of it is read back through its API."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from audit.config_file import load_config
from audit.errors import ConfigError
from audit.runs.files import read_json
from audit.tables import TABLES, read_table
from flows import schedule
from flows.audit import audit_flow
from flows.server import local_server
from tests.flows.conftest import Command
from tests.tiny import write_tiny

PATIENCE = 400.0  # seconds: a server's start, up to a minute until the next one, and the audit

#: The model of the tiny audit rests on all but the object.
CONVICTED = {
    "model.train.epochs": 12,
    "regions.derived": {"backdrop": {"outside": ["object"]}},
    "regions.roles": {"core": ["object"], "forbidden": ["backdrop"]},
}


@dataclass(frozen=True)
class Place:
    """A server, and a folder in which ``audit.yaml`` is served by it."""

    client: SyncPrefectClient
    folder: Path
    environment: dict[str, str]
    hook: str
    called: list[dict[str, Any]]  # what the webhook was told

    def ended(self, run: FlowRun, *names: str) -> FlowRun:
        """The flow run, once its state has one of these names."""
        deadline = time.monotonic() + PATIENCE
        while True:
            run = self.client.read_flow_run(run.id)
            if run.state_name in names:
                return run
            assert time.monotonic() < deadline, (run.state, (self.folder / "log.txt").read_text())
            assert run.state is not None
            assert not run.state.is_final(), run.state
            time.sleep(0.5)

    def call(self, name: str, **parameters: Any) -> FlowRun:
        """Have a deployment run now."""
        deployment = self.client.read_deployment_by_name(name)
        return self.client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def artifacts(self, run: FlowRun) -> dict[str, Any]:
        """Key to data of what a flow run left on the server."""
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        found = self.client.read_artifacts(artifact_filter=mine)
        return {str(artifact.key): artifact.data for artifact in found}


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("served")
    write_tiny(folder)
    quiet = {"PREFECT_HOME": str(folder / "prefect"), "CUECHECK_CACHE": str(folder / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in quiet.items():
            patch.setenv(name, value)
        with local_server() as url, _webhook() as (hook, called), _client(url) as client:
            own = {**environment, **quiet, "PREFECT_API_URL": url}
            command = ("schedule", "audit.yaml", "--cron", "* * * * *", "--webhook", hook)
            with _served(folder, own, *command):
                _deadline(lambda: len(client.read_deployments()) == 2)
                yield Place(client, folder, own, hook, called)


@contextmanager
def _client(url: str) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(url) as client:
        yield client


@contextmanager
def _served(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[None]:
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            # Below a background job of a shell it would be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@contextmanager
def _webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what it is told."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _deadline(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def test_a_scheduled_run_fires_and_is_read_back(place: Place) -> None:
    fired = _deadline(lambda: [run for run in place.client.read_flow_runs() if run.auto_scheduled])
    first = min(fired, key=lambda run: run.expected_start_time)
    ended = place.ended(first, "GateInconclusive")
    (folder,) = {run.parent for run in place.folder.glob("runs/tiny/*/record.json")} - set()
    assert ended.state is not None
    assert str(folder / "report.html") in str(ended.state.message)
    artifacts = place.artifacts(ended)
    assert artifacts.keys() >= {"cuecheck-verdict", "cuecheck-findings", "cuecheck-report"}
    assert artifacts["cuecheck-progress"] == 100.0
    findings = read_json(folder / "findings.json")["findings"]
    rows = json.loads(artifacts["cuecheck-findings"])
    assert [row["status"] for row in rows] == [finding["status"] for finding in findings]
    assert "GateInconclusive" in (place.folder / "log.txt").read_text()


def test_new_cues_call_the_webhook_and_known_ones_do_not(place: Place) -> None:
    _pause(place)
    new = place.ended(place.call("cuecheck-audit/tiny", overrides=CONVICTED), "GateWorsened")
    assert new.state is not None
    assert str(new.state.message).startswith(("New compared with ", "No run before; new"))
    assert ": backdrop. 1 of 1 required tests show" in str(new.state.message)
    told = _deadline(lambda: place.called)
    assert new.name in told[0]["text"]
    assert "GateWorsened" in told[0]["text"]
    again = place.call("cuecheck-audit/tiny", overrides=CONVICTED)
    place.ended(again, "GateFailed")
    assert [call for call in place.called if again.name in call["text"]] == []


def test_the_address_of_the_webhook_is_in_no_file_of_a_run(place: Place) -> None:
    _deadline(lambda: any(place.folder.glob("runs/*/*/record.json")))
    files = [path for path in place.folder.glob("runs/**/*") if path.is_file()]
    assert not [path for path in files if place.hook.encode() in path.read_bytes()]
    assert place.hook not in (place.folder / "log.txt").read_text()


def test_a_wrong_override_is_told(place: Place) -> None:
    run = place.ended(place.call("cuecheck-audit/tiny", overrides={"seeed": 3}), "Failed")
    assert run.state is not None
    assert "overrides: seeed: unknown key" in str(run.state.message)


def test_a_run_waits_for_its_sign_off(place: Place) -> None:
    wanted = {**CONVICTED, "policy.signoff": True}
    run = place.ended(place.call("cuecheck-audit/tiny", overrides=wanted), "Suspended")
    assert "cuecheck-verdict" in place.artifacts(run)  # to be read before deciding
    before = {path: path.stat().st_mtime_ns for path in place.folder.glob("runs/*/*/shards/**/*")}
    answer = {"decision": "waive", "by": "Ada", "reason": "Known; mended in the next one."}
    place.client.resume_flow_run(run.id, run_input={**answer, "until": "2001-01-01"})
    _deadline(lambda: place.client.read_flow_run(run.id).state_name != "Suspended")
    run = place.ended(run, "Suspended")  # asked again
    place.client.resume_flow_run(run.id, run_input=answer)
    place.ended(run, "GatePassed")
    after = {path: path.stat().st_mtime_ns for path in place.folder.glob("runs/*/*/shards/**/*")}
    assert after == before  # nothing was computed again, and no other run was started
    signed = [
        read_json(path)["decisions"][0] for path in place.folder.glob("runs/tiny/*/signoff.json")
    ]
    assert [(one["decision"], one["by"]) for one in signed] == [("waive", "Ada")]


def test_a_new_model_is_audited_on_call(place: Place) -> None:
    trained = max(place.folder.glob("runs/tiny/*/model/model.safetensors"))
    run = place.call("cuecheck-new-model/tiny", checkpoint=str(trained))
    place.ended(run, "GateInconclusive")
    newest = max(place.folder.glob("runs/tiny/*/config.yaml"))
    assert yaml.safe_load(newest.read_text())["model"]["checkpoint"] == str(trained)


def test_a_work_pool_runs_what_prefect_yaml_says(place: Place, finished: Path) -> None:
    text = _prefect_yaml(place)
    (place.folder / "prefect.yaml").write_text(text)
    _prefect(place, "work-pool", "create", "audits", "--type", "process")
    _prefect(place, "--no-prompt", "deploy", "--all", "--prefect-file", "prefect.yaml")
    run = place.call("cuecheck-audit/pooled", out=str(place.folder / "pooled"))
    _prefect(place, "worker", "start", "--pool", "audits", "--run-once")
    place.ended(run, "GateInconclusive")
    for table in TABLES.values():
        numbers = read_table(place.folder / "pooled" / f"{table.name}.parquet", table)
        expected = read_table(finished / f"{table.name}.parquet", table)
        pd.testing.assert_frame_equal(numbers, expected, check_exact=True)


def _pause(place: Place) -> None:
    """Keep the schedule from firing between the runs that a test asks for."""
    deployment = place.client.read_deployment_by_name("cuecheck-audit/tiny")
    place.client.pause_deployment(deployment.id)


def _prefect_yaml(place: Place) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "flows", "schedule", "audit.yaml", "--work-pool", "audits"),
            *("--cron", "0 3 * * 1", "--set", "name=pooled"),
        ],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _prefect(place: Place, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_crashed_run_keeps_no_later_one_from_firing(tiny: Path) -> None:
    # Prefect keeps the slot of a holder that died; runs are kept apart by the runner and the lock.
    for deployment in schedule._deployments(load_config(tiny), "* * * * *"):
        assert deployment.concurrency_limit is None


def test_parameters_are_checked_when_a_run_is_asked_for(tiny: Path) -> None:
    audited, new_model = schedule._deployments(load_config(tiny), None)
    assert audited.enforce_parameter_schema
    assert new_model.enforce_parameter_schema
    required = load_config(tiny, {"policy.required": "[sky]"})
    assert not schedule._deployments(required, None)[0].enforce_parameter_schema
    assert schedule._parameters(required)["policy"]["required"] == ["sky"]


@pytest.mark.parametrize("hooks", ["on_completion", "on_failure", "on_crashed"])
@pytest.mark.parametrize("deployment", [None, "some id"])
def test_a_scheduled_run_tells_how_it_ended(
    hooks: str, deployment: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    state = SimpleNamespace(name="Failed", message="DataError: no\x1b[1Gmanifest\nin data")
    (hook,) = getattr(audit_flow, f"{hooks}_hooks")
    hook(audit_flow, SimpleNamespace(name="keen-owl", deployment_id=deployment), state)
    told = capsys.readouterr()
    assert told.out == ""
    assert ("Failed: DataError: no [1Gmanifest in data\n" in told.err) == bool(deployment)
    assert len(told.err.splitlines()) == (1 if deployment else 0)


@pytest.mark.parametrize("url", ["foo", "ftp://host/secret", "https://:8/secret", "//host/secret"])
def test_a_webhook_must_be_an_address_and_is_not_repeated(tiny: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="--webhook: must be an address") as refused:
        schedule.serve(load_config(tiny), None, url)
    assert url not in str(refused.value)


def test_wrong_cron_expression_is_named(tmp_path: Path, cuecheck: Command) -> None:
    write_tiny(tmp_path)
    done = cuecheck("schedule", "audit.yaml", "--cron", "every monday", cwd=tmp_path)
    assert done.returncode == 2
    assert 'error: --cron "every monday"' in done.stderr
    assert "https" not in done.stderr
