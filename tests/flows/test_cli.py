from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from audit.errors import ConfigError
from audit.gate import EXIT_CODES, Verdict
from audit.runs.files import write_text
from audit.runs.folder import Run
from audit.runs.record import seal
from flows import cli
from flows.commands import options, preparing, running
from tests.flows.conftest import Command
from tests.tiny import CONFIG, write_tiny

NOWHERE = "http://127.0.0.1:1/api"
COMMANDS = (
    *("run", "demo", "gate", "report", "compare", "index"),
    *("validate", "init", "schedule", "status", "clean", "verify", "sign", "record"),
)
COUNTS = {
    "PASS": {"CLEARED": 1},
    "FAIL": {"CONFIRMED": 1},
    "ERROR": {"ERROR": 1},
    "INCONCLUSIVE": {"INCONCLUSIVE": 1},
}


@pytest.mark.parametrize("outcome", sorted(EXIT_CODES))
def test_gate_exits_with_the_code_of_the_verdict(
    finished: Path, cuecheck: Command, tmp_path: Path, outcome: str
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(finished, run.folder, ignore=shutil.ignore_patterns("shards", "stages"))
    counts = dict.fromkeys(("CONFIRMED", "CLEARED", "INCONCLUSIVE", "ERROR", "WAIVED"), 0)
    verdict = Verdict(outcome, "As planted.", counts | COUNTS[outcome])  # type: ignore[arg-type]
    write_text(run.verdict, verdict.to_json())
    assert cuecheck("gate", run.folder).returncode == 2  # altered after it was sealed
    seal(run)
    done = cuecheck("gate", run.folder)
    assert done.returncode == EXIT_CODES[verdict.verdict]
    assert outcome in done.stdout


def test_run_exits_with_the_code_of_the_verdict_where_asked(
    tiny: Path, finished: Path, cuecheck: Command
) -> None:
    expected = cuecheck("gate", finished).returncode
    assert expected == EXIT_CODES["INCONCLUSIVE"]
    again = ("run", tiny, "--no-prefect", "--out", finished)
    assert cuecheck(*again, "--gate").returncode == expected
    assert cuecheck(*again).returncode == 0


def test_gate_tells_one_line_however_long(
    finished: Path, cuecheck: Command, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(finished, run.folder)
    verdict = Verdict.read(run.verdict)
    write_text(run.verdict, dataclasses.replace(verdict, reason="word " * 100).to_json())
    seal(run)
    assert len(cuecheck("gate", run.folder).stdout.splitlines()) == 1


def test_command_of_the_gate_can_be_pasted(
    tiny: Path, finished: Path, cuecheck: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "my run; rm -r $HOME"
    shutil.copytree(finished, folder)
    done = cuecheck("run", tiny, "--no-prefect", "--out", folder)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("gate:"))
    assert shlex.split(line) == ["gate:", "cuecheck", "gate", str(folder)]


def test_text_of_the_data_commands_no_terminal(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "\x1b[2K\x1b[1G\x9b2KPASS everything\r\n"
    run = Run(tmp_path / "run")
    shutil.copytree(finished, run.folder)
    found = json.loads(run.findings.read_text())
    for finding in found["findings"]:
        finding |= {"region": hostile, "target_class": hostile}
    write_text(run.findings, json.dumps(found))
    verdict = Verdict.read(run.verdict)
    write_text(run.verdict, dataclasses.replace(verdict, reason=hostile).to_json())
    seal(run)

    def told(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["cuecheck", *map(str, arguments)])
        with pytest.raises(SystemExit):
            cli.main()
        written = capsys.readouterr()
        return written.out + written.err

    running._announce(run.folder, as_json=False, quiet=False)
    running._announce(run.folder, as_json=True, quiet=False)
    cell = {"cell": hostile, "samples": 1, "clusters": 1}
    preparing._show_preview({"facts": {"classes": hostile}, "cells": [cell], "warnings": [hostile]})
    shown = capsys.readouterr().out
    shown += told("gate", run.folder) + told("gate", run.folder, "--json") + told("gate", hostile)
    assert shown.count("PASS everything") >= 7
    assert not {"\x1b", "\x9b", "\r"} & set(shown)


def _without(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_without("verdict.json"), "verdict.json: missing from the run"),
        (_without("record.json"), "not a finished run"),
        (_without("evidence.parquet"), "evidence.parquet: missing from the run"),
        (lambda run: (run / "verdict.json").write_text("{}"), "altered"),
        (lambda run: (run / "findings.json").write_text("{}"), "altered"),
        (lambda run: (run / "model" / "card.json").write_text("{}"), "altered"),
        (lambda run: (run / "record.json").write_text("{"), "not readable as JSON"),
        (lambda run: (run / "record.json").write_text("[]"), "must be a JSON object"),
        (shutil.rmtree, "no such run folder"),
    ],
)
def test_gate_fails_closed(
    finished: Path, cuecheck: Command, tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("shards", "stages"))
    spoil(run)
    done = cuecheck("gate", run)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _manifest(change: Callable[[str], str]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "manifest.csv"
        path.write_text(change(path.read_text()))

    return spoil


def _config(old: str, new: str) -> Callable[[Path], None]:
    assert old in CONFIG

    def spoil(folder: Path) -> None:
        (folder / "audit.yaml").write_text(CONFIG.replace(old, new))

    return spoil


BAD_INPUTS = {
    "no config": (lambda f: (f / "audit.yaml").unlink(), "no such file"),
    "not yaml": (_config("name: tiny", "name: [tiny"), "audit.yaml:"),
    "unknown key": (_config("name: tiny", "name: tiny\nsead: 1"), "unknown key"),
    "no manifest": (lambda f: (f / "manifest.csv").unlink(), "manifest"),
    "empty manifest": (_manifest(lambda text: ""), "no samples found"),
    "no such column": (_config("attributes: [background]", "attributes: [background, sex]"), "sex"),
    "no such filter": (_config("audit: {split: test}", "audit: {fold: 1}"), "fold"),
    "nothing to audit": (_config("audit: {split: test}", "audit: {split: none}"), "none"),
    "train is audit": (_config("audit: {split: test}", "audit: {split: train}"), "both"),
    "unknown class": (_config("classes: [square, disc]", "classes: [square, ring]"), "ring"),
    "all masks missing": (lambda f: shutil.rmtree(f / "masks"), "missing mask"),
    "all pictures missing": (lambda f: shutil.rmtree(f / "images"), "missing image"),
    "no such architecture": (_config("arguments: {width: 8}", "architecture: resnet19"), "resnet19"),
    "bad argument": (_config("arguments: {width: 8}", "arguments: {widht: 8}"), "widht"),
    "no such module": (_config("arguments: {width: 8}", "architecture: 'nowhere:make'"), "nowhere"),
    "no checkpoint": (_config("arguments: {width: 8}", "checkpoint: no.safetensors"), "no.safetensors"),
    "no such layer": (_config("policy:", "explain: {layer: layer9}\npolicy:"), "layer9"),
    "no such device": (_config("device: cpu", "device: tpu"), "tpu"),
    "no such match": (_config("match: [label]", "match: [job]"), "job"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_one_line_and_exit_2(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, expected = BAD_INPUTS[name]
    write_tiny(tmp_path, per_cell=3)
    spoil(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["cuecheck", "run", "audit.yaml", "--no-prefect", "-q", "--out", "run"]
    )
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr()
    assert caught.value.code == 2, told.err
    assert told.err.startswith("error: ")
    assert expected in told.err
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err + told.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "audit.yaml", "--no-prefect", "--out", "manifest.csv"),
        ("run", "audit.yaml", "--no-prefect", "--out", "manifest.csv/run"),
        ("init", ".", "--out", "nowhere/audit.yaml"),
        ("init", ".", "--out", "manifest.csv/audit.yaml"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_and_exit_2(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tiny(tmp_path, per_cell=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cuecheck", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr()
    assert caught.value.code == 2, told.err
    assert told.err.startswith("error: ")
    assert len(told.err.splitlines()) == 1
    assert Path(arguments[-1]).parts[0] in told.err


@pytest.mark.parametrize(
    ("command", "name", "value", "expected"),
    [
        ("run --out run", "PREFECT_API_URL", NOWHERE, "check PREFECT_API_URL, or use --no-prefect"),
        ("run --out run", "PREFECT_HOME", "{tiny}/home", "PREFECT_HOME"),
        ("schedule --cron @daily", "PREFECT_API_URL", NOWHERE, "check PREFECT_API_URL"),
    ],
)
def test_prefect_out_of_reach_is_one_line_and_exit_2(
    command: str,
    name: str,
    value: str,
    expected: str,
    tiny: Path,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows", *command.split(), tiny],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, name: value.format(tiny=tiny)},
        check=False,
        timeout=600,
    )
    assert done.returncode == 2, done.stderr
    *_, told = done.stderr.splitlines()
    assert told.startswith("error: ")
    assert expected in told
    assert len(done.stderr.splitlines()) <= 2  # before it what is begun


@pytest.mark.parametrize("name", ["occupations.yml", "configs/demo.json", "demo.yaml.bak"])
def test_a_mistyped_file_is_no_shipped_one(name: str) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        options.read_config(Path(name), None)


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/demo.yaml"])
def test_a_shipped_configuration_goes_by_its_name(name: str, tmp_path: Path) -> None:
    assert options.read_config(Path(name), None).name == "demo"


def test_bad_input_through_prefect_is_one_line_too(cuecheck: Command, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    shutil.rmtree(tmp_path / "masks")
    done = cuecheck("run", "audit.yaml", "-q", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_validate_tells_what_the_audit_will_do(tiny: Path, cuecheck: Command) -> None:
    done = cuecheck("validate", tiny)
    assert done.returncode == 0, done.stderr
    for expected in ("32 audit", "sky by removal", "features", "square x dark", "object (core)"):
        assert expected in done.stdout
    found = json.loads(cuecheck("validate", tiny, "--json").stdout)
    assert sum(cell["samples"] for cell in found["cells"] if " x " not in cell["cell"]) == 32


def test_init_writes_a_configuration_that_loads(cuecheck: Command, tmp_path: Path) -> None:
    write_tiny(tmp_path / "data")
    (tmp_path / "data" / "audit.yaml").unlink()
    assert cuecheck("init", "data", cwd=tmp_path).returncode == 0
    done = cuecheck("validate", "audit.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "# " in (tmp_path / "audit.yaml").read_text()
    again = cuecheck("init", "data", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_init_of_a_url_is_refused_and_keeps_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cuecheck", "init", "s3://key:hunter2@bucket/scans"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr().err
    assert caught.value.code == 2
    assert told.startswith("error: s3://...: init reads folders of this machine")
    assert "hunter2" not in told
    assert not list(tmp_path.iterdir())


def test_init_knows_class_folders(cuecheck: Command, tmp_path: Path) -> None:
    write_tiny(tmp_path / "made")
    folders = {"train": "Training", "test": "val"}
    for split in folders.values():
        for label in ("square", "disc"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
    for picture in (tmp_path / "made" / "images").iterdir():
        split, label = picture.name.split("-")[:2]
        shutil.copy(picture, tmp_path / "data" / folders[split] / label)
    done = cuecheck("init", "data", cwd=tmp_path)
    assert done.returncode == 0
    assert "column: NAME-THE-MASK-COLUMN" in done.stdout
    config = (tmp_path / "audit.yaml").read_text()
    for expected in ("source: folder", "train: {split: Training}", "audit: {split: val}"):
        assert expected in config


def test_init_tells_what_is_left_to_fill_in(cuecheck: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = "picture,diagnosis,sex\n" + "a.png,ill,f\nb.png,well,m\n" * 3
    (tmp_path / "data" / "list.csv").write_text(table)
    done = cuecheck("init", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "audit.yaml").read_text())
    assert config["data"]["attributes"] == ["picture", "sex"]
    for place in ("sample_id: NAME-", "path: NAME-", "column: NAME-", "train: {NAME-", "audit: {"):
        assert f"- fill in  {place}" in done.stdout


def test_init_of_an_empty_folder_says_what_it_looked_for(cuecheck: Command, tmp_path: Path) -> None:
    done = cuecheck("init", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "neither a manifest" in done.stderr


def test_two_runs_are_compared_and_indexed(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = Run(tmp_path / "runs" / "tiny" / "other")
    shutil.copytree(finished, other.folder)
    write_text(other.identity, json.dumps({**json.loads(other.identity.read_text()), "again": 1}))
    seal(other)
    page, index = tmp_path / "what changed.html", tmp_path / "runs" / "index.html"
    commands = {
        page: ("compare", finished, other.folder, "--output", page),
        index: ("index", tmp_path / "runs"),
    }
    for written, arguments in commands.items():
        monkeypatch.setattr(sys, "argv", ["cuecheck", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        told = capsys.readouterr()
        assert (caught.value.code, told.out.strip()) == (0, str(written)), told.err
    assert "The verdict stays INCONCLUSIVE" in page.read_text(encoding="utf-8")
    assert "tiny/other/report.html" in index.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("compare {run} {run}", "is the run itself"),
        ("compare {run} none", "none: no such run folder"),
        ("compare {run} .", "not a finished run"),
        ("compare {run} none --output {run}/page.html", "which stays as it is"),
        ("index none", "none: no such folder"),
        ("index .", "no run in it"),
        ("index {run} --output nowhere/page.html", "nowhere"),
    ],
)
def test_pages_that_cannot_be_written_are_one_line_and_exit_2(
    command: str,
    expected: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [word.format(run=finished) for word in command.split()]
    monkeypatch.setattr(sys, "argv", ["cuecheck", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr().err
    assert caught.value.code == 2, told
    assert told.startswith("error: ")
    assert expected in told
    assert len(told.splitlines()) == 1


def test_schema_and_help(cuecheck: Command) -> None:
    assert "properties" in json.loads(cuecheck("schema").stdout)
    for command in COMMANDS:
        done = cuecheck(command, "--help")
        assert done.returncode == 0
        assert "Usage" in done.stdout
        if command in ("run", "demo"):
            assert "runs/<audit>/<time>-<digest>" in done.stdout


def test_internal_error_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    assert "internal error" in capsys.readouterr().err


def test_a_named_cue_becomes_an_audit(finished: Path, cuecheck: Command, tmp_path: Path) -> None:
    out = tmp_path / "named"
    done = cuecheck("region", finished, "--cue", "1", "--name", "patch", "--output", out)
    assert done.returncode == 0, done.stderr
    assert "pictures show 'patch'" in done.stdout
    checked = cuecheck("validate", out / "audit.yaml")
    assert checked.returncode == 0, checked.stderr
    refused = cuecheck("region", finished, "--cue", "1", "--name", "patch", "--output", out)
    assert refused.returncode == 2
    assert "not empty" in refused.stderr
