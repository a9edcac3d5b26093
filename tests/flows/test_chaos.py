from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.flows.chaos import (
    OVERRIDES,
    Fault,
    Launcher,
    assert_each_sample_once,
    launcher,
    survive,
)
from tests.flows.tables import assert_same_tables

KILLS, KILLS_AT_RENAME = 6, 4


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to; how long it took, its renames, and its flushes to disk."""

    folder: Path
    seconds: float
    renames: int
    syncs: int


@pytest.fixture(scope="module")
def launched(tiny: Path, environment: Mapping[str, str]) -> Iterator[Launcher]:
    with launcher(tiny, environment) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(launched: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    ending = launched.start(folder)
    assert ending.status == 0, ending.told
    assert_each_sample_once(folder, folder)
    return Undisturbed(folder, ending.seconds, ending.renames, ending.syncs)


def _drawn(seed: int, part: int, parts: int) -> float:
    """A number in 0..1, uniform in one of equal parts of it."""
    return float((part + np.random.default_rng([seed, part]).random()) / parts)


@pytest.mark.parametrize("part", range(KILLS))
def test_killed_at_a_random_moment(
    launched: Launcher, undisturbed: Undisturbed, tmp_path: Path, part: int
) -> None:
    fault = Fault("kill", undisturbed.seconds * _drawn(0, part, KILLS))
    survival = survive(launched, tmp_path / "run", fault, undisturbed.folder)
    assert survival.first.status in (-9, 0)  # 0: it was quicker than the undisturbed one


@pytest.mark.parametrize("part", range(KILLS_AT_RENAME))
def test_killed_between_write_and_rename(
    launched: Launcher, undisturbed: Undisturbed, tmp_path: Path, part: int
) -> None:
    at = 1 + int(undisturbed.renames * _drawn(1, part, KILLS_AT_RENAME))
    fault = Fault("kill at rename", at)
    survival = survive(launched, tmp_path / "run", fault, undisturbed.folder)
    assert survival.first.status == -9


@pytest.mark.parametrize(
    ("largest", "name"),
    [(3_000, "files.parquet"), (50_000, "training.pt"), (1_000_000, "report.html")],
)
def test_file_that_the_kernel_refuses_is_named_and_the_next_start_finishes(
    launched: Launcher, undisturbed: Undisturbed, tmp_path: Path, largest: int, name: str
) -> None:
    fault = Fault("limit", largest)
    survival = survive(launched, tmp_path / "run", fault, undisturbed.folder)
    assert survival.first.status == 2
    assert f"{name}: File too large; raise the limit" in survival.first.told
    assert "\n" not in survival.first.told


@pytest.mark.parametrize("kind", ["full at rename", "full at sync"])
def test_full_disk_is_told_and_the_next_start_finishes(
    launched: Launcher, undisturbed: Undisturbed, tmp_path: Path, kind: str
) -> None:
    most = undisturbed.renames if kind.endswith("rename") else undisturbed.syncs
    fault = Fault(kind, 1 + int(most * _drawn(2, 0, 1)))  # type: ignore[arg-type]
    survival = survive(launched, tmp_path / "run", fault, undisturbed.folder)
    assert survival.first.status == 2
    assert "No space left on device; free some, and the same command goes on" in (
        survival.first.told
    )


@pytest.mark.slow
def test_full_disk_through_prefect_is_told_in_one_line(
    tiny: Path,
    undisturbed: Undisturbed,
    launched: Launcher,
    tmp_path: Path,
    environment: Mapping[str, str],
) -> None:
    script = f"""
import errno, sys
from audit import atomic
from flows.cli import main

def flush(path):
    if "shards" in str(path) and "00002" in str(path):
        raise OSError(errno.ENOSPC, "No space left on device")

atomic._flush = flush
settings = {[f"--set={key}={value}" for key, value in OVERRIDES.items()]!r}
sys.argv = ["cuecheck", "run", {str(tiny)!r}, "-q", "--out", {str(tmp_path / "run")!r}, *settings]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=600,
    )
    assert done.returncode == 2, done.stderr
    (told,) = done.stderr.splitlines()
    assert "00002" in told
    assert "No space left on device; free some, and the same command goes on" in told
    assert not list(tmp_path.rglob("*.tmp"))
    assert launched.start(tmp_path / "run").status == 0
    assert_same_tables(undisturbed.folder, tmp_path / "run")


def test_a_home_of_prefect_without_room_is_told_in_one_line(
    tiny: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        [sys.executable, "-m", "flows", "run", str(tiny), "-q", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**environment, "PREFECT_HOME": str(tmp_path / "home")},
        preexec_fn=no_large_files,
        check=False,
        timeout=600,
    )
    assert done.returncode == 2
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"error: PREFECT_HOME {tmp_path / 'home'}: cannot be written (File too")
    assert told.endswith("or use --no-prefect")
