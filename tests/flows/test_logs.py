from __future__ import annotations

import json
import logging
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from audit import events, steps
from audit.config_file import load_config
from audit.errors import DataError
from audit.events import LOGGER, stage, tell
from audit.judgement import today
from audit.runs.folder import Run, start_or_resume
from audit.runs.record import check_record
from audit.runs.verify import verify_run
from flows import logs
from flows.direct import run_directly
from flows.logs import JsonLines, LogFile, kept
from flows.settings import QUIET, telemetry_is_off
from tests.tiny import write_tiny


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_one_line_of_ascii_whatever_it_names() -> None:
    record = LOGGER.makeRecord(
        "cuecheck", logging.WARNING, "f", 1, "quarantined", (), None,
        extra={"fields": {"sample": "\x1b[31m\nü", "path": Path("x")}},
    )  # fmt: skip
    line = JsonLines().format(record)
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert (told["level"], told["event"]) == ("warning", "quarantined")
    assert (told["sample"], told["path"]) == ("\x1b[31m\nü", "x")


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.log.write_text('{"event": "whole"}\n{"event": "to')
    with kept(tmp_path):
        tell("next", shard=1)
        tell("last")
    whole, torn, following, last = run.log.read_text().splitlines()
    assert torn == '{"event": "to'
    assert [json.loads(line)["event"] for line in (whole, following, last)] == [
        *("whole", "next", "last")
    ]


def test_a_log_that_cannot_be_written_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    (tmp_path / "link").symlink_to(elsewhere)
    for path in (tmp_path, tmp_path / "none" / "log.jsonl", tmp_path / "link"):
        LogFile(path).emit(LOGGER.makeRecord("cuecheck", logging.INFO, "f", 1, "x", (), None))
    assert elsewhere.read_text() == ""
    assert capsys.readouterr().err == ""


def test_events_are_kept_once_by_all_threads_and_by_none_afterwards(tmp_path: Path) -> None:
    inside = threading.Event()

    def work() -> None:
        with kept(tmp_path):
            inside.set()
            done.wait(10)
            tell("late")

    done, worker = threading.Event(), threading.Thread(target=work)
    before = list(LOGGER.handlers)
    with kept(tmp_path), kept(tmp_path):
        worker.start()
        inside.wait(10)
        tell("early")
    done.set()
    worker.join()
    tell("never")
    assert [line["event"] for line in _lines(Run(tmp_path).log)] == ["early", "late"]
    assert LOGGER.handlers == before
    assert LOGGER.propagate


def test_nobody_is_told_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    tell("secret", level=logging.ERROR)
    assert capsys.readouterr() == ("", "")


def test_what_is_asked_for_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(logs.VERBOSE, "1")
    with kept(tmp_path):
        tell("shown")
    assert capsys.readouterr().err == Run(tmp_path).log.read_text()


def test_a_stage_that_stops_tells_the_kind_of_its_error_and_no_more(tmp_path: Path) -> None:
    with pytest.raises(DataError), kept(tmp_path), stage("check data", shard=3):
        raise DataError("/data/of/people/patient.png: label 'ill'")
    with pytest.raises(OSError, match="full"), kept(tmp_path), stage("train"):
        raise OSError(28, "full", "/data/of/people/model")
    start, stopped, _, full = _lines(Run(tmp_path).log)
    assert (start["event"], start["stage"], start["shard"]) == ("start", "check data", 3)
    assert (stopped["event"], stopped["error"], stopped["shard"]) == ("stopped", "DataError", 3)
    assert stopped["seconds"] >= 0
    assert (full["error"], full["errno"]) == ("OSError", "28")
    assert "/data/of/people" not in Run(tmp_path).log.read_text()


def test_many_bad_samples_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_SAMPLES", 2)
    config = load_config(write_tiny(tmp_path / "data"), {"data.max_bad_fraction": "0.5"})
    for i in range(5):
        (tmp_path / f"data/images/train-disc-dark-{i}.png").write_bytes(b"none")
    run = start_or_resume(config, tmp_path / "run")
    with kept(run.folder):
        steps.prepare(run)
    bad = [line for line in _lines(run.log) if line["event"] == "quarantined"]
    assert len(bad) == 3
    assert bad[-1]["more"] == 3


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that stopped after its first shard, and was started again; with one bad sample."""
    folder = tmp_path_factory.mktemp("resumed")
    config = load_config(write_tiny(folder / "data"), {"data.max_bad_fraction": "0.05"})
    (folder / "data/images/test-disc-dark-0.png").write_bytes(b"none")
    run = start_or_resume(config, folder / "run")
    with logs.logged(run, config):
        for step in (steps.prepare, steps.fit, steps.plan):
            step(run)
        steps.measure(run, 0)
    run_directly(run)
    return run


def test_the_log_of_a_run_tells_starts_stages_shards_and_bad_samples(resumed: Run) -> None:
    lines = _lines(resumed.log)
    begun = [line for line in lines if line["event"] in ("started", "resumed")]
    assert [(b["event"], b["at"], b["shards_there"], b["shards"]) for b in begun] == [
        ("started", "check data", 0, None),
        ("resumed", "explain and intervene", 1, 4),
    ]
    assert all(line["telemetry"] == "off" for line in begun)
    ended = [line for line in lines if line["event"] == "end"]
    shards = [(e["shard"], e["samples"], e["device"]) for e in ended if e["stage"] == "shard"]
    assert shards == [(0, 8, "cpu"), (1, 8, "cpu"), (2, 8, "cpu"), (3, 7, "cpu")]
    assert [line["shard"] for line in lines if line["event"] == "there"] == [0]
    assert Counter(e["stage"] for e in ended if e["stage"] in ("merge", "report", "seal")) == {
        **dict.fromkeys(("merge", "report", "seal"), 1)
    }
    (bad,) = (line for line in lines if line["event"] == "quarantined")
    told = {key: bad[key] for key in bad.keys() - {"time", "host", "process"}}
    assert told == {
        "level": "warning",
        "event": "quarantined",
        "sample": "test-disc-dark-0",
        "kind": "unreadable image",
    }
    assert str(resumed.folder.parent) not in resumed.log.read_text()


def test_the_log_is_no_part_of_the_record(resumed: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(resumed.folder, run.folder)
    with kept(run.folder):
        tell("later")
    check_record(run)
    verified = verify_run(run, today())
    assert not verified.faults
    assert any("log.jsonl is not in it" in note for note in verified.notes)
    assert not any("nobody answers" in note for note in verified.notes)


def test_telemetry_is_off_unless_the_user_switched_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    assert telemetry_is_off()
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    assert not telemetry_is_off()
