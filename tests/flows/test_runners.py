from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import psutil
import pytest
import torch
from prefect.exceptions import CrashedRun

from audit import planned, steps
from audit.config import Execution
from audit.config_file import load_config
from audit.errors import ConfigError, DataError, RunError
from audit.runs.folder import Run, config_digest, start_or_resume
from flows import runners, tasks
from flows.direct import run_directly
from flows.faults import is_transient, may_retry
from tests.flows.conftest import Command
from tests.flows.tables import assert_same_tables

WORKER = {"dask": "multiprocessing.spawn", "ray": "ray::"}  # in the command line of a worker
ANY_RUNNER = ("local", "threads", "dask", "ray")


@pytest.mark.parametrize("runner", ["threads", "dask", "ray"])
def test_tables_are_the_same_wherever_shards_are_computed(
    tiny: Path, finished: Path, cuecheck: Command, tmp_path: Path, runner: str
) -> None:
    chosen = ("--set", f"execution.runner={runner}", "--set", "execution.parallel=2")
    done = cuecheck("run", tiny, *chosen, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert_same_tables(finished, tmp_path / "run")


def test_workers_of_an_existing_cluster_are_used(
    tiny: Path, finished: Path, cuecheck: Command, tmp_path: Path
) -> None:
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=40
    ) as cluster:
        address = f"execution.address={cluster.scheduler_address}"
        chosen = ("--set", "execution.runner=dask", "--set", address)
        done = cuecheck("run", tiny, *chosen, "--out", tmp_path / "run")
        assert done.returncode == 0, done.stderr
    assert_same_tables(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def undisturbed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with as many shards as samples."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run_directly(start_or_resume(load_config(tiny, {"execution.shard_size": "1"}), out))
    return out


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_worker_is_killed_and_the_run_completes(
    tiny: Path, undisturbed: Path, tmp_path: Path, environment: Mapping[str, str], runner: str
) -> None:
    run = Run(tmp_path / "run")
    chosen = [f"execution.runner={runner}", "execution.parallel=2", "execution.shard_size=1"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "flows", "run", str(tiny), "--quiet", "--out", str(run.folder)),
            *(word for setting in chosen for word in ("--set", setting)),
        ],
        env=dict(environment),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not any(run.shards.glob("*/[0-9]*")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    victim = _workers_of(process.pid, WORKER[runner])[0]
    os.kill(victim.pid, signal.SIGKILL)
    assert len(list(run.shards.glob("*/[0-9]*"))) < 32
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert_same_tables(undisturbed, run.folder)


def _workers_of(pid: int, sign: str) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if sign in " ".join(child.cmdline())]


def test_where_shards_are_computed_makes_no_other_run(tiny: Path) -> None:
    digests = {config_digest(load_config(tiny, {"execution.runner": name})) for name in ANY_RUNNER}
    assert len(digests) == 1


def test_an_address_without_a_cluster_is_refused(tiny: Path, cuecheck: Command) -> None:
    with pytest.raises(ConfigError, match="address: only for the runners dask and ray"):
        load_config(tiny, {"execution.address": "tcp://127.0.0.1:1"})
    directly = cuecheck("run", tiny, "--no-prefect", "--set", "execution.runner=dask")
    assert directly.returncode == 2
    assert "dask works through Prefect alone; leave out --no-prefect" in directly.stderr


def test_a_cluster_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def silent() -> Iterator[None]:
        raise OSError("timed out")
        yield

    monkeypatch.setitem(runners.RUNNERS, "dask", lambda execution: silent())
    execution = Execution(runner="dask", address="tcp://10.0.0.1:8786")
    with (
        pytest.raises(
            ConfigError, match=r"tcp://10\.0\.0\.1:8786: no dask cluster answers \(timed"
        ),
        runners.started_runner(execution),
    ):
        pass


def test_an_address_where_nobody_listens_is_told_before_anything_is_computed(
    tiny: Path, cuecheck: Command, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        chosen = ("--set", "execution.runner=dask", "--set", f"execution.address={address}")
        done = cuecheck("run", tiny, *chosen, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert f"execution.address: no dask cluster {address} answers" in done.stderr
    assert not (tmp_path / "run" / "stages" / "checked.parquet").exists()


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_ray.task_runners", None)
    with (
        pytest.raises(ConfigError, match=r"not installed .*pip install 'cuecheck\[ray\]'"),
        runners.started_runner(Execution(runner="ray")),
    ):
        pass


def test_shards_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runners.at_a_time(Execution(parallel=4)) == 1  # local is one after the other
    assert runners.at_a_time(Execution(runner="threads", parallel=4)) == 4
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert runners.at_a_time(Execution(runner="dask")) == 3
    assert runners.at_a_time(Execution(runner="threads")) == 2  # on one device
    assert runners.at_a_time(Execution(runner="dask", device="cpu")) == 2


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(errno.ESTALE, "stale file handle"), True),
        (OSError(errno.EIO, "input/output error"), True),
        (CrashedRun("worker died"), True),
        (distributed.scheduler.KilledWorker("measure", None, 3), True),
        (OSError(errno.ENOSPC, "no space left on device"), False),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (DataError("no manifest"), False),
        (RunError("altered"), False),
        (ValueError("a bug"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_only_transient_faults_are_tried_again(error: BaseException, passes: bool) -> None:
    assert is_transient(error) == passes
    state: Any = SimpleNamespace(result=lambda raise_on_failure: error)
    task: Any = SimpleNamespace(name="measure", run_count=1)
    assert may_retry(task, task, state) == passes


class FakeRunner:
    """Gives each shard the outcomes told, one a round."""

    def __init__(self, outcomes: dict[int, list[Exception | None]]) -> None:
        self.outcomes = outcomes
        self.submitted: list[int] = []

    def submit(self, task: object, parameters: dict[str, Any]) -> Any:
        index = parameters["index"]
        self.submitted.append(index)
        outcome = self.outcomes[index].pop(0) if self.outcomes.get(index) else None

        def result() -> None:
            if outcome is not None:
                raise outcome

        return SimpleNamespace(result=result)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, list[Exception | None]]], Any]:
    def make(outcomes: dict[int, list[Exception | None]]) -> FakeRunner:
        runner = FakeRunner(outcomes)

        @contextmanager
        def started(execution: Execution) -> Iterator[FakeRunner]:
            yield runner

        monkeypatch.setattr(tasks, "started_runner", started)
        return runner

    return make


def test_shards_of_dead_workers_alone_are_submitted_again(fake: Callable[..., FakeRunner]) -> None:
    lost = CrashedRun("worker died")
    runner = fake({1: [lost, lost], 3: [lost]})
    tasks.measure_all(Execution(), "run", [5] * 5)
    assert runner.submitted == [0, 1, 2, 3, 4, 1, 3, 1]


def test_workers_that_always_die_end_the_run(fake: Callable[..., FakeRunner]) -> None:
    fake({2: [CrashedRun("worker died")] * 9})
    with pytest.raises(RunError, match=r"shard\(s\) 2: 3 times the worker was lost \(worker died"):
        tasks.measure_all(Execution(), "run", [5] * 5)


def test_a_lasting_fault_is_raised_at_once(fake: Callable[..., FakeRunner]) -> None:
    runner = fake({0: [DataError("bad")]})
    with pytest.raises(DataError, match="bad"):
        tasks.measure_all(Execution(), "run", [5] * 5)
    assert runner.submitted == [0, 1, 2, 3, 4]


def test_no_more_shards_are_known_to_prefect_than_the_window(
    fake: Callable[..., FakeRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SUBMITTED", 3)
    runner: Any = fake({})
    shards = tasks._submitted(runner, "run", range(10))
    assert [next(shards)[0], len(runner.submitted)] == [0, 3]
    assert [next(shards)[0], len(runner.submitted)] == [1, 4]
    assert [index for index, _ in shards] == list(range(2, 10))


@pytest.fixture
def planned_run(tiny: Path, tmp_path: Path) -> Run:
    run = start_or_resume(load_config(tiny), tmp_path / "run")
    steps.prepare(run)
    steps.fit(run)
    steps.plan(run)
    return run


def test_threads_share_no_model(planned_run: Run) -> None:
    models = []
    both_have_one = threading.Barrier(2, timeout=60)

    def take() -> None:
        with planned.planned_context(planned_run) as context:
            models.append(context.classifier.module)
            both_have_one.wait()

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert models[0] is not models[1]
    with planned.planned_context(planned_run) as context:
        assert any(context.classifier.module is model for model in models)  # kept, not loaded anew


def test_a_worker_with_other_code_or_libraries_computes_nothing(
    planned_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned, "code_digest", lambda: "0" * 64)
    monkeypatch.setattr(planned, "factory_digest", lambda architecture: "1" * 64)
    monkeypatch.setattr(planned, "fill_versions", lambda names: {"cv2": "4"})
    other = planned.environment

    def older(*arguments: Any) -> dict[str, Any]:
        here = other(*arguments)
        return {**here, "libraries": {**here["libraries"], "torch": "2.6"}}

    monkeypatch.setattr(planned, "environment", older)
    expected = (
        r"other numbers than were planned: code: \w{8}, now 0{8}, factory: None, now 1{8}, "
        r"libraries.cv2: None, now 4, libraries.torch: .*now 2.6"
    )
    with pytest.raises(RunError, match=expected), planned.planned_context(planned_run):
        pass
