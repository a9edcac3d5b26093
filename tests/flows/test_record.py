"""Real runs: one right link however often they are interrupted, and enough to do them again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from audit import steps
from audit.config_file import load_config
from audit.runs.chain import Link, previous_link
from audit.runs.files import file_digest, read_json, write_text
from audit.runs.folder import Run, start_or_resume
from flows import cli
from flows.direct import run_directly

Command = Callable[..., int]

DAYS = 400


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in this process; gives its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["cuecheck", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return caught.value.code

    return call


@pytest.fixture(scope="module")
def resumed(tiny: Path, finished: Path) -> Run:
    """A run beside a finished one, killed at each of its last stages and then finished."""
    config = load_config(tiny, {"output.retention_days": str(DAYS)})
    run = start_or_resume(config, finished.parent / "resumed")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for stage in ("merge", "seal"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, stage, killed)
            with pytest.raises(KeyboardInterrupt):
                run_directly(run)
    run_directly(run)
    run_directly(run)  # finished already
    return run


def test_a_resumed_run_has_one_right_link(resumed: Run, finished: Path) -> None:
    assert previous_link(resumed) == Link("run", file_digest(finished / "record.json"))
    assert previous_link(Run(finished)) is None


def test_provenance_is_enough_to_do_it_again(resumed: Run) -> None:
    told = read_json(resumed.provenance)
    assert {"data", "annotations", "weights", "code", "config", "samples"} <= told["sha256"].keys()
    assert told["sha256"]["requirements"] == file_digest(resumed.requirements)
    assert told["machine"]["processor"]
    assert told["machine"]["cores"] >= 1
    assert told["seed"] == 0
    lines = resumed.requirements.read_text().splitlines()
    pinned = dict(line.split("==") for line in lines)
    assert list(pinned) == sorted(pinned)
    for name in ("torch", "numpy", "pillow", "prefect", "pandas"):
        assert pinned[name] == metadata.version(name)


def test_the_day_to_keep_a_run_until_is_told_everywhere(
    resumed: Run, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    told = read_json(resumed.provenance)
    last = datetime.fromisoformat(told["finished"]).date() + timedelta(days=DAYS)
    assert date.fromisoformat(told["keep_until"]) == last
    assert read_json(resumed.record)["keep_until"] == str(last)
    assert str(last) in resumed.report.read_text()
    assert command("verify", resumed.folder) == 0
    assert f"keep until: {last} (" in capsys.readouterr().out


def test_sign_verify_and_record(
    resumed: Run,
    finished: Path,
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = shutil.copytree(finished.parent, tmp_path / "runs")
    run = Run(runs / "resumed")
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    signed = ("verify", run.folder, "--public-key", public)
    assert command("verify", run.folder, "--whole-chain") == 0
    assert command(*signed) == 2
    assert command("sign", run.folder, "--key", public) == 2
    assert command("sign", run.folder, "--key", private) == 0
    assert command(*signed) == 0
    capsys.readouterr()
    assert command("record", run.folder, "--output", tmp_path / "record.md") == 0
    assert file_digest(run.record) in (tmp_path / "record.md").read_text()
    assert command("record", run.folder, "--output", run.folder / "record.md") == 2

    assert command("report", run.folder) == 0  # the same bytes: the signature holds
    assert command(*signed) == 0
    write_text(runs / "run" / "verdict.json", "forged")
    capsys.readouterr()
    assert command(*signed) == 2
    told = capsys.readouterr().out
    assert "right  signature: by the key" in told
    assert "wrong  chain: run, which resumed names, was altered" in told
    shutil.rmtree(runs / "run")
    assert command(*signed) == 0
    assert command(*signed, "--whole-chain") == 2
    assert command("verify", tmp_path / "none") == 2


def test_verify_tells_who_signed_off_and_what_is_no_sign_off(
    resumed: Run, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Run(tmp_path / "copy")
    shutil.copytree(resumed.folder, copy.folder)
    assert command("signoff", copy.folder, "approve", "--by", "Ada", "--reason", "Read it.") == 0
    capsys.readouterr()
    assert command("verify", copy.folder) == 0
    assert "Approved by Ada" in capsys.readouterr().out
    copy.signoff.write_text('{"decisions": [{}]}')
    assert command("verify", copy.folder) == 2
    assert "signoff.json: holds no decisions" in capsys.readouterr().out
