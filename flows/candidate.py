"""A model that may be released: audited on the pinned data, held against the last one, gated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.config import Audit
from audit.config_file import overridden
from audit.errors import ConfigError
from audit.judgement import Judgement, judge_again, today
from audit.release import Release
from audit.runs.folder import Run, start_or_resume
from flows.mlflow_models import ModelVersion, fetch_weights, move_alias, tell_mlflow


@dataclass(frozen=True)
class Candidate:
    """A new model, and what it is held against.

    Attributes
    ----------
    checkpoint
        File of weights; or
    mlflow_model
        ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``, whose weights are fetched, and which is
        told the verdict by tags.
    baseline
        Run folder; only what is new or worse than in it blocks.
    expect_data
        SHA-256 of the data, or file of the manifest, that must have been audited.
    alias
        Alias that the MLflow model version gets if it PASSes, and loses if it does not.
    """

    checkpoint: str | None = None
    mlflow_model: str | None = None
    baseline: str | None = None
    expect_data: str | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (self.mlflow_model is None):
            raise ConfigError("new model: give one of a checkpoint and an MLflow model")
        if self.alias is not None and self.mlflow_model is None:
            raise ConfigError("alias: only for an MLflow model")


def judge_candidate(
    config: Audit,
    candidate: Candidate,
    finish: Callable[[Run, Audit], None],
    folder: Callable[[Audit], Path | None],
) -> tuple[Run, Judgement]:
    """Audit a new model, gate it, and tell MLflow where it came from there.

    Parameters
    ----------
    config
        The audit; its ``model`` section says how the weights are used.
    candidate
        The model.
    finish
        Runs the stages of a run.
    folder
        The run folder for a configuration, if it is not to be a new one.
    """
    version = ModelVersion.read(candidate.mlflow_model) if candidate.mlflow_model else None
    try:
        run, judgement = _judged(config, candidate, version, finish, folder)
    except Exception:  # whatever it was, a version that was not judged does not keep the alias
        if version and candidate.alias:
            move_alias(version, candidate.alias, passed=False)
        raise
    if version:
        tell_mlflow(version, judgement.verdict, run, candidate.alias)
    return run, judgement


def _judged(
    config: Audit,
    candidate: Candidate,
    version: ModelVersion | None,
    finish: Callable[[Run, Audit], None],
    folder: Callable[[Audit], Path | None],
) -> tuple[Run, Judgement]:
    weights = fetch_weights(version) if version else _file(candidate.checkpoint)
    config = overridden(config, {"model.checkpoint": str(weights), "model.pretrained": False})
    run = start_or_resume(config, folder(config))
    finish(run, config)
    baseline = Run(Path(candidate.baseline)) if candidate.baseline else None
    release = Release(model=weights, data=candidate.expect_data)
    return run, judge_again(run, today(), baseline=baseline, release=release)


def _file(checkpoint: str | None) -> Path:
    path = Path(str(checkpoint)).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"checkpoint: no such file: {path}")
    return path
