from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit import steps
from audit.config_file import load_config
from audit.runs.folder import Run, start_or_resume
from flows import cli, logs
from flows.commands import running


def _told(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_status_of_a_run_is_told_and_is_json(finished: Path) -> None:
    told = _told("status", finished)
    for line in ("state    finished", "verdict  INCONCLUSIVE", "shards   4 of 4"):
        assert line in told
    assert "samples  64 usable, 0 quarantined\n" in told
    assert f"next     `cuecheck gate {finished}`" in told
    found = json.loads(_told("status", finished, "--json"))
    assert (found["state"], found["shards"], found["quarantined"]) == ("finished", 4, 0)


def test_status_of_a_folder_is_a_line_for_each_run(finished: Path, tiny: Path) -> None:
    started = start_or_resume(load_config(tiny), finished.parent / "started")
    try:
        head, *lines = _told("status", finished.parent).splitlines()
        assert head.split() == ["state", "verdict", "stage", "shards", "size", "written", "run"]
        first, second = (line.split() for line in lines)
        assert first[:4] == ["finished", "INCONCLUSIVE", "-", "4/4"]
        assert first[-1] == str(finished)
        assert lines[0].index(str(finished)) == head.index("run")
        assert second[:5] == ["interrupted", "-", "check", "data", "-"]
        both = json.loads(_told("status", finished.parent, "--json"))
        assert [one["state"] for one in both] == ["finished", "interrupted"]
    finally:
        shutil.rmtree(started.folder)


def test_clean_tells_and_deletes_only_with_yes(finished: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "run")
    shutil.copytree(finished, run.folder)
    told = _told("clean", tmp_path / "runs")
    assert f"{run.shards}: shards of a finished run" in told
    assert "can be freed; --yes does it" in told
    assert run.shards.is_dir()
    assert "freed" in _told("clean", run.folder, "--yes")
    assert not run.shards.exists()
    assert _told("clean", run.folder, "--yes") == "nothing to delete\n"


@pytest.mark.parametrize("command", ["status", "clean"])
def test_what_is_no_run_is_an_error_in_words(tmp_path: Path, command: str) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        done = CliRunner().invoke(cli.app, [command, str(folder)])
        assert str(done.exception).startswith(f"{folder}: no ")


def test_a_start_says_what_it_found(tiny: Path, finished: Path, tmp_path: Path) -> None:
    config = load_config(tiny)
    run = start_or_resume(config, tmp_path / "run")
    assert running._found(run, config) == f"run folder: {run.folder}"
    steps.prepare(run)
    assert running._found(run, config) == f"resumed at 'train': {run.folder}"
    steps.fit(run)
    steps.plan(run)
    steps.measure(run, 1)
    shards = "(1 of 4 shards are there)"
    assert running._found(run, config) == (
        f"resumed at 'explain and intervene' {shards}: {run.folder}"
    )
    assert running._found(Run(finished), config) == f"finished already: {finished}"


def test_verbose_shows_the_log_and_the_start(
    tiny: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(finished, run.folder)
    monkeypatch.setenv(logs.VERBOSE, "")  # given back in the end
    done = CliRunner().invoke(
        cli.app, ["run", str(tiny), "--no-prefect", "-v", "--out", str(run.folder)]
    )
    assert done.exit_code == 0
    first, *lines = done.stderr.splitlines()
    assert first == f"finished already: {run.folder}"
    shown = [json.loads(line) for line in lines]
    assert {"event": "resumed", "at": None}.items() <= shown[0].items()
    assert shown == [json.loads(x) for x in run.log.read_text().splitlines()[-len(shown) :]]
