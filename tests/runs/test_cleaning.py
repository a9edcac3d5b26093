from __future__ import annotations

import os
import shutil
import time
from datetime import date
from pathlib import Path

import pytest

from audit import steps
from audit.config import Audit
from audit.config_file import load_config
from audit.judgement import judge_again
from audit.runs.cleaning import Choice, Cleaning, clean
from audit.runs.files import read_json, write_json, write_text
from audit.runs.folder import Run, start_or_resume, working_on
from audit.runs.record import check_record, seal
from audit.runs.verify import verify_run
from flows.direct import run_directly
from reports.build import build_report
from reports.compare import build_comparison
from tests.tiny import write_tiny

DAY = date(2026, 6, 1)
EVERYTHING = Choice(DAY, stale=True, expired=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return load_config(write_tiny(tmp_path_factory.mktemp("cleaning")))


@pytest.fixture(scope="module")
def whole(config: Audit, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = start_or_resume(config, tmp_path_factory.mktemp("whole") / "run")
    run_directly(run)
    return run


def _copy(run: Run, folder: Path) -> Run:
    shutil.copytree(run.folder, folder)
    return Run(folder)


def _names(found: Cleaning, folder: Path) -> list[str]:
    return sorted(waste.path.relative_to(folder).as_posix() for waste in found.waste)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_leave_nothing_is_deleted(whole: Run, tmp_path: Path) -> None:
    run = _copy(whole, tmp_path / "run")
    (run.folder / ".samples.parquet.1.tmp").write_bytes(b"half")
    before = _contents(tmp_path)
    found = clean([run], EVERYTHING, delete=False)
    assert _names(found, run.folder) == [".samples.parquet.1.tmp", "shards"]
    shards = sum(path.stat().st_size for path in run.shards.rglob("*") if path.is_file())
    assert found.bytes == 4 + shards
    assert _contents(tmp_path) == before


def test_without_shards_a_finished_run_is_as_good(
    whole: Run, config: Audit, tmp_path: Path
) -> None:
    run, other = (_copy(whole, tmp_path / name) for name in ("run", "other"))
    identity = read_json(other.identity) | {"started": "2026-01-01T00:00:00+00:00"}
    write_json(other.identity, identity)
    other.record.unlink()
    seal(other)
    clean([run], EVERYTHING, delete=True)
    assert not run.shards.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    check_record(run)
    steps.check_finished(run)
    assert not verify_run(run, DAY).faults
    assert judge_again(run, DAY, recompute=True).verdict == judge_again(whole, DAY).verdict
    sealed = run.record.read_bytes()
    run_directly(start_or_resume(config, run.folder))
    assert run.record.read_bytes() == sealed
    build_report(run.folder)
    assert build_comparison(other.folder, run.folder, tmp_path / "compared.html").is_file()
    assert not clean([run], EVERYTHING, delete=True).waste


def test_shards_that_may_be_needed_stay(whole: Run, tmp_path: Path) -> None:
    unfinished, altered, linked = (_copy(whole, tmp_path / name) for name in "abc")
    unfinished.record.unlink()
    write_text(altered.table("maps"), "altered")
    shutil.move(linked.shards, tmp_path / "elsewhere")
    linked.shards.symlink_to(tmp_path / "elsewhere")
    before = _contents(tmp_path)
    found = clean([unfinished, altered, linked], EVERYTHING, delete=True)
    assert not found.waste
    for why in ("maps.parquet: altered", "c/shards: a link"):
        assert any(why in sentence for sentence in found.kept)
    assert {p: b for p, b in _contents(tmp_path).items() if p.name != ".lock"} == {
        p: b for p, b in before.items() if p.name != ".lock"
    }


def test_a_run_that_is_worked_on_is_left_alone(whole: Run, tmp_path: Path) -> None:
    run = _copy(whole, tmp_path / "run")
    with working_on(run):
        found = clean([run], EVERYTHING, delete=True)
    assert not found.waste
    assert found.kept == [f"{run.folder}: a process works on it"]
    assert run.shards.is_dir()


def test_runs_that_were_given_up_go_if_asked_for(whole: Run, tmp_path: Path) -> None:
    stale, started = (_copy(whole, tmp_path / name) for name in ("stale", "started"))
    for run in (stale, started):
        run.record.unlink()
    write_text(stale.stale, "data")
    assert not clean([stale, started], Choice(DAY), delete=True).waste
    found = clean([stale, started], Choice(DAY, stale=True), delete=True)
    assert _names(found, tmp_path) == ["stale"]
    assert [path.name for path in tmp_path.iterdir()] == ["started"]


def test_a_folder_that_holds_more_than_the_run_stays(whole: Run, tmp_path: Path) -> None:
    run = _copy(whole, tmp_path / "run")
    run.record.unlink()
    write_text(run.stale, "data")
    write_text(run.folder / "my-notes.txt", "mine")
    found = clean([run], Choice(DAY, stale=True), delete=True)
    assert not found.waste
    assert "my-notes.txt" in found.kept[0]
    (run.folder / "my-notes.txt").unlink()
    nested = _copy(whole, run.model / "another")
    assert not clean([run], Choice(DAY, stale=True), delete=True).waste
    assert nested.finished


def _sealed_until(whole: Run, folder: Path, until: str | None) -> Run:
    run = _copy(whole, folder)
    run.record.unlink()
    write_json(run.provenance, read_json(run.provenance) | {"keep_until": until})
    seal(run)
    return run


def test_expired_runs_go_but_for_those_that_others_name(whole: Run, tmp_path: Path) -> None:
    first = _sealed_until(whole, tmp_path / "1", "2026-01-01")
    second = _sealed_until(whole, tmp_path / "2", "2026-02-01")
    third = _sealed_until(whole, tmp_path / "3", "2026-06-01")  # to the end of that day
    runs = [first, second, third]
    for run in runs:
        shutil.rmtree(run.shards)
    assert not clean(runs, Choice(DAY), delete=True).waste
    found = clean(runs, Choice(DAY, expired=True), delete=True)
    assert not found.waste
    assert "2: the record of 3 names it as the run before; --linked" in found.kept[0]
    assert "1: the record of 2 names it" in found.kept[1]
    found = clean(runs, Choice(DAY, expired=True, linked=True), delete=True)
    assert _names(found, tmp_path) == ["1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    verified = verify_run(third, DAY)
    assert not verified.faults
    assert any("2, which 3 names, is missing" in note for note in verified.notes)


def test_a_chain_that_is_past_its_days_goes_as_a_whole(whole: Run, tmp_path: Path) -> None:
    runs = [_sealed_until(whole, tmp_path / name, "2026-01-01") for name in "12"]
    clean(runs, Choice(DAY, expired=True), delete=True)
    assert not list(tmp_path.iterdir())


def test_expired_runs_that_were_altered_stay_as_evidence(whole: Run, tmp_path: Path) -> None:
    run = _sealed_until(whole, tmp_path / "1", "2026-01-01")
    write_text(run.verdict, "{}")
    found = clean([run], Choice(DAY, expired=True, linked=True), delete=True)
    assert run.finished
    assert any("kept, whatever its day" in sentence for sentence in found.kept)


def test_the_folder_that_one_stands_in_can_go(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, beside = _copy(whole, tmp_path / "run"), _copy(whole, tmp_path / "beside")
    record = read_json(run.record)
    write_json(run.record, {**record, "keep_until": "2026-05-31"})
    monkeypatch.chdir(run.folder)
    clean([Run(Path())], EVERYTHING, delete=True)
    assert list(tmp_path.iterdir()) == [beside.folder]


def test_what_is_no_run_folder_is_never_touched(whole: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "shards").mkdir(parents=True)
    (other / ".mine.tmp").write_text("mine")
    write_text(other / "record.json", "{}")
    link = tmp_path / "link"
    link.symlink_to(_copy(whole, tmp_path / "elsewhere" / "run").folder)
    before = _contents(tmp_path)
    found = clean([Run(other), Run(link), Run(tmp_path / "none")], EVERYTHING, delete=True)
    assert not found.waste
    assert len(found.kept) == 3
    assert _contents(tmp_path) == before


def test_drafts_of_runs_go_when_they_are_old(whole: Run, tmp_path: Path) -> None:
    run = _copy(whole, tmp_path / "run")
    old, new, mine = (
        tmp_path / name for name in (f".r.{'0' * 32}.tmp", f".r.{'1' * 32}.tmp", ".mine.tmp")
    )
    for folder in (old, new, mine):
        (folder / "stages").mkdir(parents=True)
        os.utime(folder, (0, 0) if folder != new else (time.time(), time.time()))
    clean([run], Choice(DAY), delete=True)
    assert not old.exists()
    assert new.is_dir()
    assert mine.is_dir()
