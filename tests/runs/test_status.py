from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit import steps
from audit.config import Audit
from audit.config_file import load_config
from audit.errors import RunError
from audit.runs.files import write_text
from audit.runs.folder import Run, start_or_resume, working_on
from audit.runs.status import is_worked_on, progress_of, size_of, status_of
from flows.direct import run_directly
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    path = write_tiny(tmp_path_factory.mktemp("status"))
    (path.parent / "images/test-disc-dark-0.png").write_bytes(b"no picture")
    return load_config(path, {"data.max_bad_fraction": "0.05"})


@pytest.fixture(scope="module")
def whole(config: Audit, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = start_or_resume(config, tmp_path_factory.mktemp("whole") / "run")
    run_directly(run)
    return run


@pytest.fixture
def copy(whole: Run, tmp_path: Path) -> Iterator[Run]:
    shutil.copytree(whole.folder, tmp_path / "run")
    yield Run(tmp_path / "run")


def test_every_stage_is_known_by_what_it_leaves(config: Audit, tmp_path: Path) -> None:
    run = start_or_resume(config, tmp_path / "run")
    told = []

    def tell() -> None:
        status = status_of(run)
        assert status.state == "interrupted"
        told.append((status.stage, status.shards_done, status.shards))

    tell()
    for step in (steps.prepare, steps.fit, steps.plan):
        step(run)
        tell()
    for index in range(4):
        steps.measure(run, index)
        tell()
    for step in (steps.merge, steps.examine, steps.discover, steps.judge, steps.illustrate):
        step(run)
        tell()
    assert told == [
        ("check data", 0, None),
        ("train", 0, None),
        ("plan", 0, None),
        *[("explain and intervene", done, 4) for done in range(4)],
        *[
            (stage, 4, 4)
            for stage in (
                *("merge", "check the explainer", "look for cues", "judge"),
                *("draw pictures", "report"),
            )
        ],
    ]


def test_a_finished_run_tells_its_verdict_samples_and_size(whole: Run) -> None:
    status = status_of(whole)
    assert (status.state, status.stage, status.verdict) == ("finished", None, "INCONCLUSIVE")
    assert (status.usable, status.quarantined) == (63, 1)
    assert status.kinds == {"unreadable image": 1}
    files = [path for path in whole.folder.rglob("*") if path.is_file()]
    assert status.bytes == sum(path.stat().st_size for path in files) == size_of(whole.folder)
    assert status.todo == f"`cuecheck gate {whole.folder}`"
    assert status_of(whole, quick=True) == status


def test_who_looks_sees_the_lock_and_does_not_hold_it(copy: Run) -> None:
    copy.record.unlink()
    with working_on(copy):
        assert is_worked_on(copy)
        assert status_of(copy).state == "running"
    assert not is_worked_on(copy)
    copy.lock.unlink(missing_ok=True)
    before = sorted(copy.folder.rglob("*"))
    assert status_of(copy).state == "interrupted"
    assert sorted(copy.folder.rglob("*")) == before


def test_bad_states_say_why(copy: Run) -> None:
    write_text(copy.verdict, "{}")
    assert status_of(copy).state == "altered"
    assert "verdict.json: altered" in str(status_of(copy).why)
    assert status_of(copy, quick=True).state == "altered"
    copy.record.unlink()
    write_text(copy.stale, "data: 1, now 2\nthreads: 1, now 2\n")
    given_up = status_of(copy)
    assert given_up.state == "given up"
    assert given_up.why == "changed since it was started: data: 1, now 2, threads: 1, now 2"
    assert "--stale" in given_up.todo
    copy.stale.unlink()
    text = copy.config_file.read_text()
    copy.config_file.write_text(text.replace("seed: 0", "seed: 1"))
    assert status_of(copy).state == "altered"
    copy.config_file.write_text("[")
    assert status_of(copy).state in ("altered", "unreadable")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        status_of(Run(tmp_path))


def test_shards_of_other_numbers_do_not_count(copy: Run, config: Audit) -> None:
    own = next(copy.shards.iterdir())
    shutil.copytree(own, own.with_name("0" * 16))
    shutil.rmtree(own / "00001")
    assert progress_of(copy, config).shards_done == 3
