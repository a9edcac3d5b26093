from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit.judgement import today
from audit.news import worse_than_before
from audit.runs.chain import record_digest
from audit.runs.files import read_json, write_json
from audit.runs.folder import Run
from tests.gate.runs import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one audit that rests on hair: not at all, somewhat, again so, and far more."""
    folder = tmp_path_factory.mktemp("made")
    write_run(folder / "clean")
    write_run(folder / "biased", hair=0.4)
    write_run(folder / "again", hair=0.4, seed=3)
    write_run(folder / "worse", hair=0.75, seed=5)
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def _after(runs: Path, before: str, now: str) -> list[str]:
    """What the one run has that the other had not, where its record names it as the one before."""
    run = Run(runs / now)
    link = {"run": before, "sha256": record_digest(Run(runs / before))}
    write_json(run.record, {**read_json(run.record), "previous": link})
    return worse_than_before(run, today())


def test_without_a_run_before_all_that_convicts_is_new(runs: Path) -> None:
    (told,) = worse_than_before(Run(runs / "biased"), today())
    assert told.startswith("No run before; new: hair for")
    assert worse_than_before(Run(runs / "clean"), today()) == []


def test_new_and_worse_are_told_and_known_is_not(runs: Path) -> None:
    (new,) = _after(runs, "clean", "biased")
    assert new.startswith("New compared with clean: hair for")
    assert _after(runs, "biased", "again") == []
    (worse,) = _after(runs, "biased", "worse")
    assert worse.startswith("Worse compared with biased: hair for")


def test_a_run_before_that_cannot_be_used_is_told(runs: Path) -> None:
    _after(runs, "clean", "biased")
    (runs / "clean" / "verdict.json").write_text("{}")
    (told,) = worse_than_before(Run(runs / "biased"), today())
    assert told.startswith("Not compared with clean: The baseline cannot be used")
