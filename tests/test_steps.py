from __future__ import annotations

from pathlib import Path

from audit.config_file import load_config
from audit.runs.folder import start_or_resume
from audit.steps import fit, prepare
from tests.tiny import write_tiny


def test_a_finished_training_is_checked_and_only_repeated_if_its_weights_changed(
    tmp_path: Path,
) -> None:
    config = load_config(write_tiny(tmp_path / "data"), {"model.train.epochs": "1"})
    run = start_or_resume(config, tmp_path / "run")
    steps: list[str] = []

    def note(stage: str, done: int, total: int) -> None:
        steps.append(stage)

    prepare(run)
    fit(run)
    weights = run.model / "model.safetensors"
    whole = weights.read_bytes()
    fit(run, note)
    assert not steps
    weights.write_bytes(whole[:-1])
    fit(run, note)
    assert steps
    assert weights.read_bytes() == whole
