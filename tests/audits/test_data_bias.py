"""Data bias, origin and duplicates of a whole small audit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit.config_file import load_config
from audit.runs.files import read_json
from audit.runs.folder import start_or_resume
from audit.tables import ASSOCIATION, CELLS, DUPLICATES, PROPERTIES, read_table
from flows.direct import run_directly
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    config = write_tiny(data)
    # one picture of the training part is met again in the audit
    shutil.copy(data / "images/train-disc-dark-0.png", data / "images/test-disc-dark-0.png")
    run = start_or_resume(load_config(config), data / "run")
    run_directly(run)
    return run.folder


def test_the_confound_of_the_training_data_is_found_and_the_audit_is_free_of_it(
    folder: Path,
) -> None:
    rows = read_table(folder / "association.parquet", ASSOCIATION)
    rows = rows[(rows["factor"] == "background") & (rows["target_class"] == "*")]
    effect = rows.set_index(rows["part"].astype(str))["effect"]
    assert effect["training"] == pytest.approx(1, abs=0.01)
    assert effect["audit"] == 0
    cells = read_table(folder / "cells.parquet", CELLS)
    training = cells[(cells["part"] == "training") & (cells["factor"] == "background")]
    assert sorted(training["n"]) == [0, 0, 16, 16]


def test_findings_carry_the_bias_of_their_data(folder: Path) -> None:
    found = read_json(folder / "findings.json")["findings"]
    assert {one["data_bias"]["status"] for one in found} == {"biased"}
    assert {one["data_bias"]["factor"] for one in found} == {"background"}
    for one in found:
        assert (one["remedy"] is not None) == (one["status"] == "CONFIRMED")


def test_the_leak_is_a_warning_in_summary_and_report(folder: Path) -> None:
    pairs = read_table(folder / "duplicates.parquet", DUPLICATES)
    leaks = pairs[pairs["kind"] == "leak"]
    listed = set(zip(leaks["sample_id"], leaks["other_id"], leaks["distance"], strict=True))
    assert ("test-disc-dark-0", "train-disc-dark-0", 0) in listed
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "**Warning:** " in summary and "look like a training picture" in summary
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "look like a training picture" in page
    assert "What gives the class away in the data" in page


def test_properties_are_those_of_the_pictures(folder: Path) -> None:
    rows = read_table(folder / "properties.parquet", PROPERTIES)
    assert (rows[["width", "height"]] == 32).all(axis=None)
    light = rows["sample_id"].str.contains("light")
    assert rows.loc[light, "brightness"].min() > rows.loc[~light, "brightness"].max()
