"""A named cue becomes a region that an audit of its own loads, tests and confirms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit import steps
from audit.config_file import load_config
from audit.data.dataset import open_dataset
from audit.discovery.cues import CONFIRMED, find_cues
from audit.discovery.features import chosen_samples, read_features
from audit.discovery.region import Sought, members_of, on_picture
from audit.errors import ConfigError, RunError
from audit.geometry import View
from audit.labels import per_label
from audit.runs.files import read_json
from audit.runs.folder import Run, start_or_resume
from audit.tables import CUES, SAMPLES, read_table, write_table
from flows.direct import run_directly
from tests.discovery import tagged
from tests.multilabel import write_multilabel


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An audit of the network that relies on the tag, end to end."""
    folder = tmp_path_factory.mktemp("named")
    run = start_or_resume(load_config(tagged.write_tagged(folder / "data")), folder / "run")
    run_directly(run)
    return run


def test_the_run_names_the_tag_only_as_an_unnamed_cue(finished: Run) -> None:
    cues = read_table(finished.table("cues"), CUES)
    assert cues["status"].astype(str).iloc[0] == CONFIRMED
    findings = read_json(finished.findings)["findings"]
    assert {finding["region"] for finding in findings} == {"shadow"}
    assert all(finding["status"] != "CONFIRMED" for finding in findings)  # no cue gates
    page = finished.report.read_text(encoding="utf-8")
    assert "Unnamed cue 1" in page
    assert CONFIRMED in page
    assert read_json(finished.record)["files"].keys() >= {"cues.parquet", "cues/pictures.json"}


def test_discovery_is_not_done_again_unless_something_is_missing(finished: Run) -> None:
    stages: list[str] = []

    def note(stage: str, done: int, total: int) -> None:
        stages.append(stage)

    table = finished.table("cues")
    whole = table.read_bytes()
    steps.discover(finished, note)
    assert not stages
    table.unlink()
    steps.discover(finished, note)
    assert stages
    assert table.read_bytes() == whole


def test_a_named_cue_is_a_region_that_the_next_audit_confirms(
    finished: Run, tmp_path: Path
) -> None:
    shown = steps.name_cue(finished, 1, "corner tag", tmp_path / "tag")
    config = load_config(tmp_path / "tag" / "audit.yaml")
    assert config.regions.names == ["object", "shadow", "corner tag"]
    assert config.required_regions("square") == ["shadow", "corner tag"]
    assert config.required_regions("disc") == ["shadow"]
    dataset = open_dataset(config)
    typical = read_table(finished.table("cues"), CUES)["typical"].iloc[0]
    assert set(typical) <= set(dataset.samples["sample_id"])
    with_tag = 0
    for index in range(len(dataset.samples)):
        example = dataset.load(index)
        mask = example.masks[2]
        if mask.any():
            with_tag += 1
            assert mask.sum() == tagged.TAG**2
            assert mask[: tagged.TAG, : tagged.TAG].all()
            assert (example.picture[mask] == (220, 0, 220)).all()
    assert with_tag == shown > 30
    again = start_or_resume(config, tmp_path / "run")
    run_directly(again)
    status = {
        (finding["region"], finding["target_class"]): finding["status"]
        for finding in read_json(again.findings)["findings"]
    }
    assert status["corner tag", "square"] == "CONFIRMED"
    samples = read_table(again.table("samples"), SAMPLES)
    assert set(samples["part"]) == {"audit"}
    assert samples["cluster_id"].str.startswith("p").all()


def test_names_and_folders_that_cannot_be_used_are_refused(finished: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no cue 99; there are: 1"):
        steps.name_cue(finished, 99, "tag", tmp_path / "tag")
    with pytest.raises(ConfigError, match="object: a region already"):
        steps.name_cue(finished, 1, "object", tmp_path / "tag")
    with pytest.raises(ConfigError, match="must be letters"):
        steps.name_cue(finished, 1, "../tag", tmp_path / "tag")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="not empty"):
        steps.name_cue(finished, 1, "tag", tmp_path / "full")
    assert not (tmp_path / "tag").exists()


def test_cells_cover_the_pixels_whose_centres_they_hold() -> None:
    rng = np.random.default_rng(0)
    cells = rng.random((5, 7)) < 0.5
    view = View((40, 90), (3.5, 21.25, 36.0, 70.5), (32, 48))
    found = on_picture(cells, view)
    top, left, bottom, right = view.box
    for y in range(40):
        for x in range(90):
            row = np.floor((y + 0.5 - top) / ((bottom - top) / 5))
            column = np.floor((x + 0.5 - left) / ((right - left) / 7))
            seen = 0 <= row < 5 and 0 <= column < 7
            assert found[y, x] == (seen and cells[int(row), int(column)])


def test_a_cue_that_is_not_found_again_is_refused(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "check_finished", lambda run: None)  # of files that are altered
    table = finished.table("cues")
    whole = table.read_bytes()
    cues = read_table(table, CUES)
    try:
        for change in ({"group": 9}, {"found_on": cues["found_on"] + 1}):
            write_table(cues.assign(**change), CUES, table)
            with pytest.raises(RunError, match="the cue is not found again"):
                steps.name_cue(finished, 1, "tag", tmp_path / "tag")
    finally:
        table.write_bytes(whole)
    assert not (tmp_path / "tag").exists()


def test_a_cue_of_one_label_of_many_makes_an_audit_of_that_label(tmp_path: Path) -> None:
    settings = {
        "data.target": "tagged",
        "explain.layer": "features",
        "checks.enabled": "false",
        "regions.source.values": "{object: 1}",
        "regions.roles": "{forbidden: [object]}",
    }
    (config,) = per_label(load_config(write_multilabel(tmp_path / "data"), settings))
    run = start_or_resume(config, tmp_path / "run")
    run_directly(run)
    cues = read_table(run.table("cues"), CUES)
    number = int(cues.loc[cues["target_class"] == "tagged", "cue"].iloc[0])
    shown = steps.name_cue(run, number, "band", tmp_path / "band")
    (again,) = per_label(load_config(tmp_path / "band" / "audit.yaml"))
    assert again.required_regions("tagged") == ["object", "band"]
    dataset = open_dataset(again)
    assert dataset.classes == ["not tagged", "tagged"]
    before = open_dataset(config).samples.set_index("sample_id")["label"].astype(str)
    after = dataset.samples.set_index("sample_id")["label"].astype(str)
    assert after.to_dict() == before[after.index].to_dict()
    with_band = [bool(dataset.load(i).masks[1].any()) for i in range(len(dataset.samples))]
    assert sum(with_band) == shown > 0


def test_who_belongs_to_a_cue_does_not_depend_on_how_many_are_read_at_once(tmp_path: Path) -> None:
    config = tagged.write_tagged(tmp_path)
    found = []
    for size in ("7", "256"):
        context = tagged.context_of(
            config, tagged.relies_on_the_tag(), execution__shard_size=size, discovery__samples="80"
        )
        cues = find_cues(context, read_features(context, chosen_samples(context))).cues
        cue = Sought(*cues.loc[0, ["target_class", "group", "found_on"]])
        told: list[tuple[int, int]] = []
        fresh, cells = members_of(
            context, cue, lambda done, total, to=told: to.append((done, total))
        )
        assert told[-1] == (len(fresh), len(fresh))
        found.append((fresh, cells))
    (fresh, cells), (again, others) = found
    np.testing.assert_array_equal(fresh, again)
    assert set(cells) == set(others)
    assert len(cells) > 30
    assert all(np.array_equal(cells[position], others[position]) for position in cells)
