from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from audit import steps
from audit.config_file import load_config
from audit.data import copies
from audit.errors import ConfigError, DataError, RunError
from audit.interventions.fills import registry
from audit.runs.files import write_text
from audit.runs.folder import Run, start_or_resume
from audit.steps import fit, prepare
from audit.tables import SAMPLES, read_table
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


def test_what_is_altered_is_drawn_before_any_model_and_however_shards_are_cut(
    tmp_path: Path,
) -> None:
    drawn = []
    for size in ("8", "3"):
        settings = {"interventions.per_cell": "5", "execution.shard_size": size}
        run = start_or_resume(load_config(write_tiny(tmp_path / "data"), settings), tmp_path / size)
        prepare(run)
        samples = read_table(run.checked, SAMPLES)
        drawn.append(samples.set_index("sample_id")["stands_for"])
    assert drawn[0].equals(drawn[1])
    audited = samples["part"] == "audit"
    assert (samples.loc[~audited, "stands_for"] == 1).all()
    # of every label x background eight are there and five drawn, or more for the label as a whole
    cells = samples[audited].groupby(["label", "attribute:background"], observed=True)
    chosen = cells["stands_for"].agg(lambda values: int((values > 0).sum()))
    assert chosen.between(5, 8).all()
    assert chosen.sum() < audited.sum()


def test_a_fill_whose_library_lacks_stops_the_run_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda module: None)
    config = load_config(write_tiny(tmp_path / "data"), {"interventions.fills": "[blur, inpaint]"})
    run = start_or_resume(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="pip install"):
        prepare(run)
    assert not run.checked.exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"digest": "0"}'])
def test_plan_of_another_shape_is_named(tmp_path: Path, content: str) -> None:
    run = Run(tmp_path)
    run.plan.parent.mkdir()
    write_text(run.plan, content)
    for step in (lambda: steps.measure(run, 0), lambda: steps.merge(run)):
        with pytest.raises(RunError, match=r"plan\.json: must be a JSON object with the keys"):
            step()


def test_a_run_on_other_data_is_refused_with_the_files_that_changed(tmp_path: Path) -> None:
    config = load_config(write_tiny(tmp_path / "data"), {"data.max_bad_fraction": "0.5"})
    run = start_or_resume(config, tmp_path / "run")
    prepare(run)
    before = run.files.read_bytes()
    prepare(run)
    (tmp_path / "data/masks/test-disc-dark-1.png").write_bytes(b"other")
    (tmp_path / "data/images/test-disc-dark-0.png").unlink()
    with pytest.raises(RunError) as told:
        prepare(run)
    assert "data: " in str(told.value)
    assert "changed: 'masks/test-disc-dark-1.png', missing: 'images/test-disc-dark-0.png'; " in str(
        told.value
    )
    assert run.files.read_bytes() == before
    assert sorted(path.name for path in run.files.parent.iterdir()) == [
        "checked.parquet",
        "data.json",
        "files.parquet",
        "stale",
    ]


def test_a_network_that_fails_stops_the_run_and_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(copies, "WAITS", ())
    path, memory = write_tiny(tmp_path / "data"), fsspec.filesystem("memory")
    for file in path.parent.glob("**/*.*"):
        memory.pipe_file(f"/lost/{file.relative_to(path.parent).as_posix()}", file.read_bytes())
    run = start_or_resume(load_config(path, {"data.root": "memory://lost"}), tmp_path / "run")
    get_file = type(memory).get_file

    def failing(self: object, source: str, target: str) -> None:
        if source.endswith("test-disc-dark-3.png"):
            raise ConnectionError("reset by peer")
        get_file(self, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", failing)
        with pytest.raises(DataError, match=r"memory://lost: cannot read '\w+/test-disc-dark-3"):
            prepare(run)
    assert not run.checked.exists()
    prepare(run)
    assert (read_table(run.checked, SAMPLES)["status"] == "ok").all()
    memory.store.clear()
