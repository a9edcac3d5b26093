from __future__ import annotations

from pathlib import Path

import pytest

from audit import steps
from audit.config_file import load_config
from audit.errors import RunError
from audit.runs.files import write_text
from audit.runs.folder import Run, start_or_resume
from audit.steps import fit, prepare
from tests.tiny import write_tiny


def test_a_finished_training_is_checked_and_only_repeated_if_its_weights_changed(
    tmp_path: Path,
) -> None:
    config = load_config(write_tiny(tmp_path / "data"), {"model.train.epochs": "1"})
    run = start_or_resume(config, tmp_path / "run")
    stages: list[str] = []

    def note(stage: str, done: int, total: int) -> None:
        stages.append(stage)

    prepare(run)
    fit(run)
    weights = run.model / "model.safetensors"
    whole = weights.read_bytes()
    fit(run, note)
    assert not stages
    weights.write_bytes(whole[:-1])
    fit(run, note)
    assert stages
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("content", ["[]", "{}", '{"digest": "0"}'])
def test_plan_of_another_shape_is_named(tmp_path: Path, content: str) -> None:
    run = Run(tmp_path)
    run.plan.parent.mkdir()
    write_text(run.plan, content)
    for step in (lambda: steps.measure(run, 0), lambda: steps.merge(run)):
        with pytest.raises(RunError, match=r"plan\.json: must be a JSON object with the keys"):
            step()
