"""From one configuration of a multi-label model to an audit per label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from audit.config_file import dump_config, load_config
from audit.data.dataset import open_dataset
from audit.data.labels import with_label
from audit.data.sources import read_samples
from audit.errors import ConfigError, DataError
from audit.labels import per_label
from audit.models.load import load_classifier
from audit.tables import SAMPLES
from flows import cli
from tests.models.toys import CPU
from tests.multilabel import CONFIG, LABELS, write_multilabel


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_multilabel(tmp_path_factory.mktemp("things"), count=8)


def _changed(things: Path, name: str, old: str, new: str) -> Path:
    path = things.with_name(f"{name}.yaml")
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new))
    return path


def test_an_audit_per_label_each_with_two_classes(things: Path) -> None:
    audits = per_label(load_config(things))
    assert [audit.name for audit in audits] == [f"things.{label}" for label in LABELS]
    assert [audit.data.classes for audit in audits] == [[f"not {x}", x] for x in LABELS]
    for audit in audits:
        assert per_label(audit) == [audit]


def test_one_label_by_name(things: Path) -> None:
    (audit,) = per_label(load_config(things, {"data.target": "large"}))
    assert (audit.name, audit.data.classes) == ("things.large", ["not large", "large"])


def test_the_stored_configuration_of_a_label_is_that_label_s(things: Path, tmp_path: Path) -> None:
    for audit in per_label(load_config(things)):
        path = tmp_path / f"{audit.name}.yaml"
        path.write_text(dump_config(audit))
        assert load_config(path) == audit


def test_an_ordinary_audit_is_itself(things: Path) -> None:
    plain = _changed(
        things, "plain", "  label_columns: {red: is_red, tagged: is_tagged, large: is_large}\n", ""
    )
    config = load_config(plain)
    assert per_label(config) == [config]


def test_roles_of_a_label_hold_for_both_its_sides_and_no_other(things: Path) -> None:
    roles = (
        "  per_class: {tagged: {core: [tag], forbidden: [object]}, red: {allowed: [tag]}, "
        "not red: {forbidden: [tag]}}\nmodel:\n"
    )
    audits = {a.data.target: a for a in per_label(
        load_config(_changed(things, "roles", "model:\n", roles)))}  # fmt: skip
    for side in ("tagged", "not tagged"):
        assert audits["tagged"].required_regions(side) == ["object"]
    assert audits["red"].required_regions("red") == []
    assert audits["red"].required_regions("not red") == ["tag"]
    assert audits["large"].regions.per_class == {}
    assert audits["large"].required_regions("large") == ["tag"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  attributes: [tag]\n", "  attributes: [tag]\n  classes: [a, b]\n", "leave it out"),
        ("  attributes: [tag]\n", "  attributes: [tag]\n  target: blue\n", "'blue' is not among"),
        ("red: is_red", "red: is_red, not red: is_red", "another's other side"),
        ("  root: .\n", "  root: .\n  source: folder\n", "only for a manifest"),
        ("  checkpoint: weights.pt\n", "", "give model.checkpoint"),
        ("model:\n", "  per_class: {blue: {core: [tag]}}\nmodel:\n", "unknown class"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(
    things: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(_changed(things, "wrong", old, new))


def test_labels_whose_runs_would_share_a_folder_are_refused(things: Path) -> None:
    path = _changed(things, "alike", "red: is_red", "no find: is_red, no/find: is_red")
    with pytest.raises(ConfigError, match="differs from another label in signs only"):
        per_label(load_config(path))
    long = _changed(things, "long", "red: is_red", f"{'x' * 70}: is_red")
    with pytest.raises(ConfigError, match=r"label 'x+': name: "):
        per_label(load_config(long))


def test_a_label_with_a_space_has_a_folder_without(things: Path) -> None:
    path = _changed(things, "space", "red: is_red", "No Finding: is_red")
    audit, *_ = per_label(load_config(path))
    assert audit.name == "things.No-Finding"
    assert audit.data.classes == ["not No Finding", "No Finding"]


def _labels_of(things: Path, values: list[str]) -> list[str]:
    (audit,) = per_label(load_config(things, {"data.target": "red"}))
    manifest = read_samples(audit.data)
    rows = pd.DataFrame({"is_red": values}, dtype=str)
    named = with_label(type(manifest)(rows, manifest.files, manifest.data))
    return list(named.rows["label"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "0", "", "2"], ["red", "not red", "", "2"]),
        (["1.0", "0.0"], ["red", "not red"]),
        (["TRUE", "False ", "yes", "No"], ["red", "not red", "red", "not red"]),
        (["1", "-1"], ["red", "not red"]),  # as in CelebA
        (["1", "0", "-1"], ["red", "not red", "-1"]),  # as in CheXpert: uncertain
    ],
)
def test_what_counts_as_the_label(things: Path, values: list[str], expected: list[str]) -> None:
    assert _labels_of(things, values) == expected


def test_an_unclear_label_is_quarantined(things: Path, tmp_path: Path) -> None:
    path = write_multilabel(tmp_path, count=8)
    manifest = pd.read_csv(tmp_path / "manifest.csv", dtype=str)
    manifest.loc[0, "is_red"] = "maybe"
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    samples = open_dataset(per_label(load_config(path))[0]).samples
    assert samples["status"].tolist() == ["quarantined"] + ["ok"] * 7
    assert "'maybe'; classes are not red, red" in samples["reason"][0]
    assert set(SAMPLES.schema(["tag"]).names) == set(samples.columns)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"data\.target: one label at a time; name one of red, tagged, large"),
        (
            {"data.target": "red", "data.columns": "{label: tag}"},
            r"data\.columns\.label: 'tag' is a column of the manifest",
        ),
        (
            {"data.target": "red", "data.label_columns": "{red: nowhere}"},
            r"data\.label_columns\.red: no column 'nowhere'",
        ),
    ],
)
def test_a_data_set_that_cannot_be_labelled_is_refused(
    things: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(load_config(things, changes))


@pytest.mark.parametrize("order", [LABELS, LABELS[::-1], ["large", "red", "tagged"]])
def test_a_label_is_looked_up_among_the_outputs(things: Path, order: list[str]) -> None:
    config = load_config(things, {"model.outputs": str(order)})
    for label in LABELS:
        classes = [f"not {label}", label]
        found = load_classifier(config.model, classes, CPU, labels=LABELS)
        assert found.label_output == order.index(label)


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        ({"model.outputs": "[red, large]"}, LABELS, "has 3 outputs, but there are 2"),
        ({"model.outputs": "[a, b, c]"}, LABELS, "class 'red' is not among the model's 3 outputs"),
        ({"model.architecture": "tests.models.toys:single_logit"}, ["red", "large"], "1 outputs"),
    ],
)
def test_a_head_that_does_not_fit_the_labels_is_refused(
    things: Path, model: dict[str, Any], labels: list[str], message: str
) -> None:
    from audit.errors import ModelError

    config = load_config(things, model).model
    if "model.architecture" in model:
        config = config.model_copy(update={"checkpoint": None, "pretrained": True})
    with pytest.raises(ModelError, match=message):
        load_classifier(config, ["not red", "red"], CPU, labels=labels)


def test_validate_tells_of_every_label_and_a_schedule_wants_one(things: Path) -> None:
    done = CliRunner().invoke(cli.app, ["validate", str(things)])
    assert done.exit_code == 0, done.output
    for label in LABELS:
        assert f"not {label}, {label}" in done.output
    refused = CliRunner().invoke(cli.app, ["schedule", str(things), "--cron", "0 3 * * 1"])
    assert isinstance(refused.exception, ConfigError)
    assert "--set data.target=red" in str(refused.exception)
