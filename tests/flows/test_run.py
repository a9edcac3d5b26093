from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from audit import steps
from audit.config_file import load_config
from audit.errors import RunError
from audit.runs.files import read_json, write_json
from audit.runs.folder import Run, start_or_resume, working_on
from audit.runs.provenance import code_digest
from audit.tables import ATTENTION, INTERVENTIONS, SAMPLES, read_table
from flows.direct import run_directly
from tests.flows.conftest import Command
from tests.flows.tables import assert_same_tables
from tests.tiny import write_tiny

FILES = {
    "config.yaml", "provenance.json", "samples.parquet", "attention.parquet",
    "interventions.parquet", "evidence.parquet", "findings.json", "verdict.json", "report.html",
    "summary.md", "junit.xml", "findings.sarif", "maps.parquet", "scorecard.parquet", "record.json",
}  # fmt: skip

COUNTS = dict.fromkeys(("CONFIRMED", "CLEARED", "INCONCLUSIVE", "ERROR", "WAIVED"), 0)


def test_run_folder_holds_everything(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} >= FILES
    assert not list(finished.rglob("*.tmp"))
    samples = read_table(finished / "samples.parquet", SAMPLES)
    audited = samples[samples["part"] == "audit"]
    assert len(audited) == 32
    assert audited[["prediction", "score", "margin", "true_margin"]].notna().all(axis=None)
    attention = read_table(finished / "attention.parquet", ATTENTION)
    assert len(attention) == 32 * 2 * 2 * 2  # methods, explained classes, regions
    interventions = read_table(finished / "interventions.parquet", INTERVENTIONS)
    arms = interventions.groupby(["test", "fill", "arm"], observed=True).size()
    assert arms["removal"].to_dict() == {
        (fill, arm): 32 for fill in ("blur", "local-mean") for arm in ("act", "placebo")
    }
    assert arms["swap"].to_dict() == {("donor", "act"): 32, ("donor", "placebo"): 32}


def test_untouched_picture_and_its_interventions_share_the_margin_before(finished: Path) -> None:
    samples = read_table(finished / "samples.parquet", SAMPLES).set_index("sample_id")
    interventions = read_table(finished / "interventions.parquet", INTERVENTIONS)
    expected = samples.loc[interventions["sample_id"], "margin"].to_numpy()
    assert (interventions["margin_before"].to_numpy() == expected).all()


def test_through_prefect_the_tables_are_the_same(
    tiny: Path, finished: Path, cuecheck: Command, tmp_path: Path
) -> None:
    done = cuecheck("run", tiny, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert_same_tables(finished, tmp_path / "run")


def test_seed_decides(tiny: Path, finished: Path, tmp_path: Path) -> None:
    config = load_config(tiny, {"seed": "1"})
    run = start_or_resume(config, tmp_path / "run")
    run_directly(run)
    with pytest.raises(AssertionError):
        assert_same_tables(finished, run.folder)


def test_interrupted_in_the_middle_it_goes_on_and_recomputes_nothing(
    tiny: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_or_resume(load_config(tiny), tmp_path / "run")
    whole, calls = steps.measure_shard, []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "measure_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_directly(run)
    assert not run.verdict.exists()
    kept = {path: path.stat().st_mtime_ns for path in run.shards.rglob("*.parquet")}
    assert len({path.parent for path in kept}) == 2
    run_directly(run)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(calls) == 3 + 2  # shards 2 and 3 of 4
    assert_same_tables(finished, run.folder)


def test_damaged_shards_are_computed_again(
    tiny: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(finished, run.folder)
    run.record.unlink()
    missing, cut, *_ = sorted(run.shards.glob("*/*"))
    (missing / "maps.parquet").unlink()
    (cut / "attention.parquet").write_bytes(b"PAR1")
    whole, calls = steps.measure_shard, []

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "measure_shard", counted)
    run_directly(start_or_resume(load_config(tiny), run.folder))
    assert len(calls) == 2
    assert_same_tables(finished, run.folder)
    (cut / "attention.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"shard\(s\) 00001 missing or altered"):
        steps.merge(run)


@pytest.mark.parametrize("stage", ["stages", "model", "shards", "pictures"])
def test_killed_in_any_stage_the_next_start_finishes(
    tiny: Path, finished: Path, tmp_path: Path, environment: Mapping[str, str], stage: str
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "flows", "run", str(tiny), "--no-prefect", "--out", str(out)]
    process = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)
    while process.poll() is None and not any((out / stage).glob("*")):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "record.json").exists()
    run_directly(start_or_resume(load_config(tiny), out))
    assert_same_tables(finished, out)


def test_finished_run_is_not_run_again(tiny: Path, finished: Path) -> None:
    before = (finished / "record.json").stat().st_mtime_ns
    run_directly(start_or_resume(load_config(tiny), finished))
    assert (finished / "record.json").stat().st_mtime_ns == before


def test_finished_run_that_was_altered_is_not_believed(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(finished, run.folder)
    passed = read_json(run.verdict) | {"verdict": "PASS", "counts": COUNTS | {"CLEARED": 2}}
    write_json(run.verdict, passed)
    with pytest.raises(RunError, match=r"verdict\.json: altered"):
        run_directly(start_or_resume(load_config(tiny), run.folder))


def test_data_that_changed_under_a_started_run_stop_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(write_tiny(tmp_path / "data"))
    steps.prepare(start_or_resume(config))
    manifest = tmp_path / "data" / "manifest.csv"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunError, match=r"data: \w{8}, now \w{8}, changed.*starts a new") as told:
        run_directly(start_or_resume(config))
    assert "changed: 'manifest.csv', no longer listed: 'images/test-disc-" in str(told.value)
    run = start_or_resume(config)
    run_directly(run)
    assert run.finished


def test_what_changed_under_a_planned_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_or_resume(load_config(write_tiny(tmp_path / "data")), tmp_path / "run")
    steps.prepare(run)
    steps.fit(run)
    steps.plan(run)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    with pytest.raises(RunError, match=r"started: threads: \d+, now 99;"):
        steps.plan(run)
    monkeypatch.undo()
    steps.plan(run)
    run.config_file.write_text(run.config_file.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(RunError, match=r"started: config\.yaml;"):
        steps.plan(run)


def test_code_that_changed_under_a_run_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_or_resume(load_config(write_tiny(tmp_path / "data")), tmp_path / "run")
    steps.prepare(run)
    monkeypatch.setattr(steps, "code_digest", lambda: "0" * 64)
    with pytest.raises(RunError, match=r"code: \w{8}, now 00000000"):
        steps.prepare(run)


def test_pictures_that_change_under_a_planned_run_are_not_measured(tmp_path: Path) -> None:
    config = load_config(write_tiny(tmp_path / "data"))
    run = start_or_resume(config, tmp_path / "run")
    steps.prepare(run)
    steps.fit(run)
    steps.plan(run)
    steps.measure(run, 0)
    samples = read_table(run.checked, SAMPLES)
    altered = samples.loc[samples["part"] == "audit", "path"].iloc[9]  # in the second shard
    shutil.copy(tmp_path / "data" / samples["path"].iloc[0], tmp_path / "data" / altered)
    with pytest.raises(RunError, match=rf"changed since .*: changed: {altered} \(1 in a shard\)"):
        steps.measure(run, 1)
    assert len(list(run.shards.glob("*/0*"))) == 1
    mask = (
        tmp_path
        / "data"
        / altered.replace("images", "masks").replace(
            Path(altered).name, Path(samples["path"][samples["part"] == "audit"].iloc[17]).name
        )
    )
    mask.write_bytes(mask.read_bytes() + b" ")
    with pytest.raises(RunError, match=r"changed: masks/"):
        steps.measure(run, 2)
    steps.measure(run, 3)


def test_numbers_of_a_run_know_the_code_that_made_them(finished: Path) -> None:
    hashes = read_json(finished / "provenance.json")["sha256"]
    assert hashes["code"] == code_digest()


def test_weights_that_changed_under_a_run_stop_it_finished_or_not(tmp_path: Path) -> None:
    config = load_config(write_tiny(tmp_path / "data"))
    run = start_or_resume(config, tmp_path / "run")
    run_directly(run)
    weights = run.model / "model.safetensors"
    altered = {name: value + 1 for name, value in load_file(weights).items()}
    save_file(altered, weights)
    with pytest.raises(RunError, match=r"model\.safetensors: altered"):
        run_directly(run)
    with pytest.raises(RunError, match=r"started: weights: \w{8}, now \w{8};"):
        steps.plan(run)


def test_a_second_process_is_kept_off(tiny: Path, tmp_path: Path) -> None:
    run = start_or_resume(load_config(tiny), tmp_path / "run")
    with working_on(run), pytest.raises(RunError, match="another process works on this run"):
        run_directly(run)


def test_interrupted_through_prefect_the_run_is_kept_until_its_shard_is_done(
    tiny: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    script = f"""
import os, signal, threading, time
from pathlib import Path
from filelock import FileLock, Timeout
from audit import steps
from audit.config_file import load_config
from audit.runs.folder import start_or_resume
from flows.audit import audit_flow

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a background job

def measure(run, index):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    for _ in range(20):
        time.sleep(0.1)
        try:
            with FileLock(run.lock, timeout=0):
                print("lock is free", flush=True)
        except Timeout:
            pass
    print("shard", index, flush=True)

steps.measure = measure
config = load_config(Path({str(tiny)!r}))
run = start_or_resume(config, Path({str(tmp_path / "run")!r}))
try:
    audit_flow(config, str(run.folder))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=dict(environment),
        check=False,
        timeout=600,
    )
    assert done.stdout.splitlines() == ["shard 0", "interrupted"], done.stderr


def test_bad_samples_are_counted_and_the_rest_is_audited(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "data")
    (tmp_path / "data/images/test-disc-dark-0.png").write_bytes(b"no picture")
    config = load_config(path, {"data.max_bad_fraction": "0.05"})
    run = start_or_resume(config, tmp_path / "run")
    run_directly(run)
    samples = read_table(run.table("samples"), SAMPLES).set_index("sample_id")
    assert samples.loc["test-disc-dark-0", "status"] == "quarantined"
    assert samples.loc["test-disc-dark-0", "reason"]
    assert (samples["status"] == "ok").sum() == len(samples) - 1
    assert "test-disc-dark-0" in run.report.read_text()


def test_gate_and_report_need_neither_data_nor_model(
    finished: Path, cuecheck: Command, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("model", "shards", "stages"))
    config = (copy / "config.yaml").read_text()
    assert str(finished.parent) not in config  # the data lie elsewhere
    assert cuecheck("report", copy).returncode == 0
    assert cuecheck("gate", copy).returncode == cuecheck("gate", finished).returncode


def test_json_of_a_run_is_json(tiny: Path, finished: Path, cuecheck: Command) -> None:
    done = cuecheck("run", tiny, "--no-prefect", "--json", "--out", finished)
    summary = json.loads(done.stdout)
    assert summary["verdict"] == json.loads((finished / "verdict.json").read_text())["verdict"]
    assert Path(summary["report"]).is_file()
