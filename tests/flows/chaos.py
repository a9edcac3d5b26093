"""Audits that are killed or cannot write, in processes forked from one that has imported all.

As a program it obeys: a JSON object a line on standard input, ``out`` and the fault, is an audit of
``CONFIG`` in a new process; a line on standard output tells how that ended.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd

from audit.runs.folder import Run
from audit.runs.shards import is_whole
from audit.runs.status import status_of
from audit.tables import ATTENTION, INTERVENTIONS, SAMPLES, read_table
from tests.flows.tables import assert_same_tables

#: Fewer random models and pictures: what is tested here is not what they are for.
OVERRIDES = {"checks.draws": "5", "checks.stages": "2", "checks.samples": "16", "checks.few": "4"}
OVERRIDES |= {"discovery.samples": "16", "output.pictures": "2"}


@dataclass(frozen=True)
class Fault:
    """What happens to a run.

    Attributes
    ----------
    kind
        ``kill``: SIGKILL after seconds. ``kill at rename``: SIGKILL instead of the n-th rename.
        ``full at rename``, ``full at sync``: the n-th fails for want of room. ``limit``: no file
        may be larger than so many bytes, by the kernel.
    at
        Seconds, n (from 1) or bytes.
    """

    kind: Literal["none", "kill", "kill at rename", "full at rename", "full at sync", "limit"]
    at: float = 0


@dataclass(frozen=True)
class Ending:
    """How a process ended: its status (negative: the signal), and what it did until then."""

    status: int
    seconds: float
    renames: int = 0
    syncs: int = 0
    told: str = ""


@dataclass
class Launcher:
    """The process that starts others."""

    process: subprocess.Popen[str]

    def start(self, out: Path, fault: Fault = Fault("none")) -> Ending:
        """Audit in a new process."""
        order, answers = self.process.stdin, self.process.stdout
        assert order is not None
        assert answers is not None
        print(json.dumps({"out": str(out), **asdict(fault)}), file=order, flush=True)
        return Ending(**json.loads(answers.readline()))


@contextmanager
def launcher(config: Path, environment: Mapping[str, str]) -> Iterator[Launcher]:
    """A launcher of audits of a configuration, each on one thread."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.chaos", str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield Launcher(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


@dataclass(frozen=True)
class Survival:
    """What became of a run after a fault.

    Attributes
    ----------
    stage
        In which it fell.
    first, second
        How it ended, and how the next start did.
    """

    stage: str
    first: Ending
    second: Ending


def survive(launched: Launcher, out: Path, fault: Fault, undisturbed: Path) -> Survival:
    """Let a run fall, start it again, and assert that nothing was lost, doubled or redone."""
    first = launched.start(out, fault)
    run = Run(out)
    stage = (status_of(run).stage or "sealed") if out.is_dir() else "start"
    if first.status >= 0 and first.status != 0:
        assert not list(out.parent.rglob("*.tmp")), "an error leaves nothing half-written"
    kept = {
        file: file.stat().st_mtime_ns
        for shard in run.shards.glob("*/[0-9]*")
        for file in shard.iterdir()
    }
    assert all(is_whole(file.parent) for file in kept), "a shard is there whole or not at all"
    second = launched.start(out)
    assert second.status == 0, second.told
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "shards are not redone"
    assert not list(out.rglob("*.tmp"))
    assert_same_tables(undisturbed, out)
    assert_each_sample_once(out, undisturbed)
    return Survival(stage, first, second)


def assert_each_sample_once(out: Path, undisturbed: Path) -> None:
    """Neither a sample nor a measurement of one is lost or there twice."""
    manifest = pd.read_csv(Path(str(Run(out).config().data.root)) / "manifest.csv")
    samples = read_table(out / "samples.parquet", SAMPLES)
    assert sorted(samples["sample_id"]) == sorted(manifest["sample_id"])
    audited = set(samples.loc[samples["part"] == "audit", "sample_id"])
    for table, key in (
        (ATTENTION, ["sample_id", "method", "explained", "region"]),
        (INTERVENTIONS, ["sample_id", "region", "test", "fill", "arm"]),
    ):
        rows = read_table(out / f"{table.name}.parquet", table, key)
        assert set(rows["sample_id"]) == audited
        assert not rows.duplicated().any()
        assert len(rows) == len(read_table(undisturbed / f"{table.name}.parquet", table, key))


def _serve(config_file: Path, orders: IO[str], answers: IO[str]) -> None:
    from audit.config_file import load_config

    config = load_config(config_file, OVERRIDES)
    _import_all()
    for line in orders:
        order = json.loads(line)
        out, fault = Path(order.pop("out")), Fault(**order)
        reader, writer = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _audit(config, out, fault, writer)
        os.close(writer)
        status = _ended(child, began + fault.at if fault.kind == "kill" else None)
        seconds = time.monotonic() - began
        with os.fdopen(reader) as told:
            facts = json.loads(told.read() or "{}")
        print(json.dumps({"status": status, "seconds": seconds, **facts}), file=answers, flush=True)


def _ended(child: int, doom: float | None) -> int:
    """Exit status of a child that is killed at a moment; what ends a moment before has ended."""
    while doom is not None and time.monotonic() < doom:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    if doom is not None:
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _import_all() -> None:
    """What an audit imports, so that forked ones need not, nor collect it as garbage."""
    import plotly.graph_objects as go

    import flows.cli
    import flows.direct  # noqa: F401

    go.Figure([go.Bar(), go.Scatter(), go.Heatmap()]).to_json()
    gc.collect()
    gc.freeze()


def _audit(config: Any, out: Path, fault: Fault, answer: int) -> None:
    """Audit under a fault, tell how it ended, and end this process."""
    from audit.errors import CuecheckError
    from audit.runs.folder import start_or_resume
    from flows.cli import _in_words
    from flows.direct import run_directly

    counts = {"renames": 0, "syncs": 0}
    _count("renames", Path, "replace", counts, fault)
    _count("syncs", os, "fsync", counts, fault)
    if fault.kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(fault.at), resource.RLIM_INFINITY))
    status, told = 0, ""
    try:
        run_directly(start_or_resume(config, out))
    except (CuecheckError, OSError) as error:
        status, told = 2, _in_words(error)
    except BaseException as error:
        status, told = 3, f"{type(error).__name__}: {error}"
    os.write(answer, json.dumps({**counts, "told": told}).encode())
    os._exit(status)


def _count(what: str, owner: Any, name: str, counts: dict[str, int], fault: Fault) -> None:
    """Count calls, and have the n-th fail if the fault says so."""
    real, doomed = getattr(owner, name), fault.kind.endswith(f"at {what[:-1]}")

    def counted(*arguments: Any) -> Any:
        counts[what] += 1
        if doomed and counts[what] == fault.at:
            if fault.kind.startswith("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    setattr(owner, name, counted)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.stdin, sys.stdout)
