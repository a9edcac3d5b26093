"""Models of an MLflow registry (extra ``mlflow``): their weights in, the verdict back as tags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from audit.atomic import replacing_folder
from audit.data.cache import cache_folder
from audit.errors import ConfigError, ModelError
from audit.gate import Verdict
from audit.runs.chain import record_digest
from audit.runs.files import digest_of
from audit.runs.folder import Run

WEIGHTS = (".safetensors", ".pt", ".pth")

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: str

    @classmethod
    def read(cls, uri: str) -> ModelVersion:
        """From ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``; an alias is looked up.

        Raises
        ------
        ConfigError
            If it is no such address, MLflow is not installed, or the registry knows no such model.
        """
        match = _URI.fullmatch(uri)
        if match is None:
            raise ConfigError(f"{uri}: must be models:/NAME/VERSION or models:/NAME@ALIAS")
        if match["version"]:
            return cls(match["name"], match["version"])
        name, alias = match["name"], match["alias"]
        found = _asked(lambda client: client.get_model_version_by_alias(name, alias))
        return cls(name, str(found.version))

    @property
    def uri(self) -> str:
        """Its address."""
        return f"models:/{self.name}/{self.version}"


def fetch_weights(version: ModelVersion) -> Path:
    """Download the artifacts of a model version; the one file of weights among them.

    Raises
    ------
    ModelError
        If there is none, or more than one.
    """
    mlflow: Any = _mlflow("mlflow")
    address = digest_of([mlflow.get_registry_uri(), version.name, version.version])
    folder = cache_folder() / "mlflow" / address[:16]
    with replacing_folder(folder) as draft:
        _asked(lambda client: _download(client, version, draft))
        found = sorted(p for p in draft.rglob("*") if p.is_file() and p.suffix in WEIGHTS)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise ModelError(
                f"{version.uri}: must hold one state dict ({', '.join(WEIGHTS)}), but has {names}; "
                "log the model's state_dict() as an artifact of its own"
            )
        inside = found[0].relative_to(draft)
    return (folder / inside).resolve()


def _download(client: Any, version: ModelVersion, folder: Path) -> None:
    _mlflow("mlflow.artifacts").download_artifacts(
        client.get_model_version_download_uri(version.name, version.version), dst_path=str(folder)
    )


def tell_mlflow(version: ModelVersion, verdict: Verdict, run: Run, alias: str | None) -> None:
    """Set the verdict as tags of a model version, and the alias on what PASSes alone."""
    tags = {
        "cuecheck.verdict": verdict.verdict,
        "cuecheck.reason": verdict.reason[:5000],  # the longest tag that MLflow takes
        "cuecheck.run": run.folder.name,
        "cuecheck.record": record_digest(run),
    }
    for key, value in tags.items():
        _asked(
            lambda client, key=key, value=value: client.set_model_version_tag(
                version.name, version.version, key, value
            )
        )
    if alias is not None:
        move_alias(version, alias, passed=verdict.verdict == "PASS")


def move_alias(version: ModelVersion, alias: str, *, passed: bool) -> None:
    """Give an alias to a version that PASSes, or take it from one that does not."""
    _asked(lambda client: _move(client, version, alias, passed))


def _move(client: Any, version: ModelVersion, alias: str, passed: bool) -> None:
    held = client.get_registered_model(version.name).aliases.get(alias)
    if passed:
        client.set_registered_model_alias(version.name, alias, version.version)
    elif str(held) == version.version:
        client.delete_registered_model_alias(version.name, alias)


def _asked(question: Any) -> Any:
    """What the registry answers; its own errors are the user's to mend."""
    mlflow: Any = _mlflow("mlflow")
    try:
        return question(mlflow.MlflowClient())
    except mlflow.exceptions.MlflowException as error:
        told = str(error).splitlines()[0]
        raise ConfigError(f"MLflow: {told}; is MLFLOW_TRACKING_URI right?") from error


def _mlflow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError("MLflow is not installed; pip install 'cuecheck[mlflow]'") from error
