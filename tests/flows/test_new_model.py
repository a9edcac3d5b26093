from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
import yaml

from audit.config_file import load_config
from audit.errors import ConfigError, ModelError
from audit.gate import EXIT_CODES
from audit.models.registry import build
from audit.runs.chain import record_digest
from audit.runs.folder import Run
from flows import cli
from flows.candidate import Candidate
from flows.mlflow_models import ModelVersion, fetch_weights, tell_mlflow
from tests.flows.conftest import Command
from tests.flows.test_run import COUNTS

Registered = Callable[..., ModelVersion]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A registry of the test's own."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path / "cache"))
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


@pytest.fixture
def registered(client: Any, tmp_path: Path) -> Registered:
    """Register a version whose artifacts are these files."""

    def register(*files: Path, name: str = "shapes") -> ModelVersion:
        folder = tmp_path / f"artifacts-{len(list(tmp_path.glob('artifacts-*')))}"
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder)
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name)
        found = client.create_model_version(name, source=folder.as_uri())
        return ModelVersion(name, str(found.version))

    return register


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.pt"
    torch.save(build("small-cnn", {"width": 8}, 2).state_dict(), path)
    return path


def test_a_new_checkpoint_is_audited_and_gated(
    tiny: Path, finished: Path, cuecheck: Command, tmp_path: Path, weights: Path
) -> None:
    out = tmp_path / "run"
    done = cuecheck("new-model", tiny, "--checkpoint", weights, "--out", out)
    assert done.returncode == EXIT_CODES["INCONCLUSIVE"], done.stderr
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["model"]["checkpoint"] == str(weights)
    against = cuecheck(
        "new-model", tiny, "--checkpoint", weights, "--out", out, "--baseline", finished
    )
    assert "Compared with the baseline run" in against.stdout
    other = tmp_path / "other.csv"
    other.write_text("path\n")
    stale = cuecheck(
        "new-model", tiny, "--checkpoint", weights, "--out", out, "--expect-data", other
    )
    assert stale.returncode == EXIT_CODES["ERROR"]
    assert "does not stand for this release" in stale.stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "one of a checkpoint and an MLflow model"),
        ({"checkpoint": "a.pt", "mlflow_model": "models:/a/1"}, "one of a checkpoint and"),
        ({"checkpoint": "a.pt", "alias": "ok"}, "alias: only for an MLflow model"),
    ],
)
def test_there_must_be_one_model(given: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Candidate(**given)


def test_a_missing_checkpoint_is_named(tiny: Path, cuecheck: Command) -> None:
    done = cuecheck("new-model", tiny, "--checkpoint", "nowhere.pt")
    assert done.returncode == 2
    assert "checkpoint: no such file: " in done.stderr


def test_weights_come_from_mlflow_and_the_verdict_goes_back(
    tiny: Path,
    client: Any,
    registered: Registered,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = registered(weights)
    arguments = ["new-model", str(tiny), "--mlflow", version.uri, "--alias", "audited"]
    monkeypatch.setattr(sys, "argv", ["cuecheck", *arguments, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == EXIT_CODES["INCONCLUSIVE"], capsys.readouterr().err
    tags = client.get_model_version(version.name, version.version).tags
    assert tags["cuecheck.verdict"] == "INCONCLUSIVE"
    assert tags["cuecheck.record"] == record_digest(Run(tmp_path / "run"))
    assert client.get_registered_model(version.name).aliases == {}
    audited = load_config(tmp_path / "run" / "config.yaml", sealed=True).model.checkpoint
    assert audited is not None
    assert audited.read_bytes() == weights.read_bytes()


def test_an_alias_is_held_by_what_passes_alone(
    client: Any, registered: Registered, weights: Path, finished: Path
) -> None:
    from audit.gate.verdict import Verdict

    first, second = registered(weights), registered(weights)
    passed = Verdict("PASS", "Ruled out.", COUNTS | {"CLEARED": 2})  # type: ignore[arg-type]
    failed = Verdict("FAIL", "Rests on it.", COUNTS | {"CONFIRMED": 1})  # type: ignore[arg-type]

    def holder() -> str | None:
        found = client.get_registered_model(first.name).aliases.get("audited")
        return None if found is None else str(found)

    tell_mlflow(first, passed, Run(finished), "audited")
    assert holder() == first.version
    tell_mlflow(second, failed, Run(finished), "audited")
    assert holder() == first.version
    tell_mlflow(second, passed, Run(finished), "audited")
    assert holder() == second.version
    assert ModelVersion.read(f"models:/{first.name}@audited") == second
    tell_mlflow(second, failed, Run(finished), "audited")
    assert holder() is None


def test_a_version_must_hold_one_file_of_weights(
    registered: Registered, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"")
    with pytest.raises(ModelError, match=r"one state dict .* has other\.safetensors, weights\.pt"):
        fetch_weights(registered(weights, other))
    with pytest.raises(ModelError, match="but has none"):
        fetch_weights(registered(name="empty"))


def test_what_the_registry_does_not_know_is_told(client: Any) -> None:
    with pytest.raises(ConfigError, match=r"MLflow: .*; is MLFLOW_TRACKING_URI right\?"):
        fetch_weights(ModelVersion("nobody", "1"))
    with pytest.raises(ConfigError, match=r"must be models:/NAME/VERSION"):
        ModelVersion.read("runs:/abc/model")


def test_mlflow_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'cuecheck\[mlflow\]'"):
        ModelVersion.read("models:/shapes@champion")
