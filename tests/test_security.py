"""Each threat of docs/SECURITY.md has a test: here, or in the file that the page names."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import re
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from audit.config_file import load_config, load_policy
from audit.data.dataset import check_dataset, open_dataset
from audit.data.images import Frame, read_codes, read_picture
from audit.errors import BadSample, ConfigError, DataError, ModelError, RunError
from audit.gate import read_waivers
from audit.judgement import judge_again, today
from audit.listing import read_listed
from audit.models.weights import read_weights
from audit.runs.files import write_text
from audit.runs.folder import Run, start_or_resume
from audit.runs.record import seal
from flows import runners, server, settings
from flows.direct import run_directly
from reports.build import build_report
from tests.reports.runs import sealed_run
from tests.tiny import write_tiny

PAGE = Path(__file__).parents[1] / "docs" / "SECURITY.md"
SECRET = "hunter2-canary-of-the-environment"
PRIVATE = "canary-of-a-column-nobody-named"


class TooLongError(Exception):
    """Not an OSError, as TimeoutError is: nothing takes it for a file that cannot be read."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Stop what would run for hours."""

    def stop(*_: object) -> None:
        raise TooLongError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def laughs(key: str) -> str:
    """YAML of a few hundred bytes of billions of words: each line is the one before, nine times."""
    lines = [f"{key}0: &{key}0 [ha]"]
    lines += [f"{key}{i}: &{key}{i} [{', '.join([f'*{key}{i - 1}'] * 9)}]" for i in range(1, 11)]
    return "\n".join(lines) + "\n"


def test_every_test_that_the_page_names_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    for file, name in named:
        assert f"def {name}(" in (PAGE.parents[1] / file).read_text(encoding="utf-8"), name
    rows = re.findall(r"^\| \d+ \|.*$", text, re.MULTILINE)
    assert len(rows) >= 12
    assert all("::" in row for row in rows)
    own = {name for file, name in named if file == "tests/test_security.py"}
    here = set(re.findall(r"^def (test_\w+)\(", Path(__file__).read_text(), re.MULTILINE))
    assert here - own == {"test_every_test_that_the_page_names_is_there"}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.bin", "weights.pkl"])
def test_a_checkpoint_runs_no_code(tmp_path: Path, name: str) -> None:
    made = tmp_path / "made"
    content = {"state_dict": Payload(made)}
    if name.endswith(".pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(ModelError, match=r"holds Python code|damaged"):
        read_weights(tmp_path / name)
    assert not made.exists()


def test_a_picture_that_unfolds_is_not_decoded(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(bomb, optimize=True)
    assert bomb.stat().st_size < 100_000
    with at_most(5), pytest.raises(BadSample, match="too many pixels"):
        read_picture(bomb, max_pixels=10**10)  # beyond Pillow's own limit, whatever is allowed
    Image.new("1", (3_000, 3_000)).save(bomb)
    with pytest.raises(BadSample, match="too many pixels: 3000 x 3000, allowed are 1000000"):
        read_picture(bomb, max_pixels=1_000_000)
    whole = bomb.read_bytes()
    bomb.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadSample, match=r"truncated|unreadable"):
        read_picture(bomb, max_pixels=10**8)
    bomb.write_bytes(whole)
    with at_most(5), pytest.raises(BadSample, match="mask size"):
        read_codes(bomb, Frame((32, 32)))


def _archives(folder: Path) -> None:
    """A picture inside of archives, and archives named as pictures."""
    inner = folder / "images" / "test-disc-dark-0.png"
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(inner, "inner.png")
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        tar.add(inner, "inner.png")
    (folder / "zip.png").write_bytes((folder / "a.zip").read_bytes())


@pytest.mark.parametrize(
    "path",
    ["/etc/hostname", "../outside.png", "images/../../outside.png", "link.png", "links/outside.png",
     "file:///etc/hostname", "http://127.0.0.1:1/x.png", "a.zip", "a.zip/inner.png",
     "zip://inner.png::a.zip", "a.tar.gz/inner.png", "zip.png", "pipe", "images"],
)  # fmt: skip
def test_a_manifest_reads_files_of_the_data_root_and_no_archive(tmp_path: Path, path: str) -> None:
    config = write_tiny(tmp_path / "data", per_cell=1)
    _archives(config.parent)
    Image.new("RGB", (32, 32)).save(tmp_path / "outside.png")
    (config.parent / "link.png").symlink_to(tmp_path / "outside.png")
    (config.parent / "links").symlink_to(tmp_path)
    os.mkfifo(config.parent / "pipe")
    manifest = pd.read_csv(config.parent / "manifest.csv")
    manifest.loc[len(manifest) - 1, "path"] = path
    manifest.to_csv(config.parent / "manifest.csv", index=False)
    with at_most(20):
        samples, _ = check_dataset(open_dataset(load_config(config)), workers=1)
    assert samples["status"].tolist() == ["ok"] * (len(samples) - 1) + ["quarantined"]


@pytest.mark.parametrize("name", ["../outside.csv", "link.csv", "a.zip"])
def test_a_manifest_lies_in_the_data_root(tmp_path: Path, name: str) -> None:
    config = write_tiny(tmp_path / "data", per_cell=1)
    _archives(config.parent)
    (tmp_path / "outside.csv").write_bytes((config.parent / "manifest.csv").read_bytes())
    (config.parent / "link.csv").symlink_to(tmp_path / "outside.csv")
    with pytest.raises(DataError, match=r"lies outside data\.root|not a readable"):
        open_dataset(load_config(config, {"data.manifest": name}))


@pytest.mark.parametrize("tag", ["python/object/apply:os.system [exit]", "python/name:os.system"])
def test_yaml_makes_no_objects(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"description: !!{tag}\n")
    for read in (load_config, load_policy, read_waivers):
        with pytest.raises(ConfigError, match="could not determine a constructor"):
            read(path)


def test_yaml_that_unfolds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(laughs("a"))
    with at_most(10):
        for read in (load_config, load_policy, read_waivers):
            with pytest.raises(ConfigError, match=r"file\.yaml.*aliases"):
                read(path)
        write_tiny(tmp_path, per_cell=1)
        bomb = "{" + laughs("a").strip().replace("\n", ", ") + "}"
        with pytest.raises(ConfigError, match=r"--set description.*aliases"):
            load_config(tmp_path / "audit.yaml", {"description": bomb})


def test_aliases_within_reason_are_read(tmp_path: Path) -> None:
    config = write_tiny(tmp_path, per_cell=1)
    text = config.read_text().replace("attributes: [background]", "attributes: &a [background]")
    config.write_text(text + "description: ''\nx: *a\n")
    with pytest.raises(ConfigError, match="x: unknown key"):
        load_config(config)
    config.write_text(text.replace("classes: [square, disc]", "classes: *a"))
    assert load_config(config).data.classes == ["background"]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be copied."""
    run = sealed_run(tmp_path_factory.mktemp("sealed") / "run", n=40, pictures=())
    return run.folder


def test_a_run_that_unfolds_does_not_stop_the_index(sealed: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(sealed, tmp_path / "run"))
    write_text(run.config_file, laughs("a") + "name: *a10\n")
    seal(run)
    with at_most(10), pytest.raises(RunError, match="cannot be read"):
        read_listed(run)


def test_a_run_of_others_reads_no_environment(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes a run folder could have the environment written into its report."""
    monkeypatch.setenv("TOKEN", SECRET)
    run = Run(shutil.copytree(sealed, tmp_path / "run"))
    config = yaml.safe_load(run.config_file.read_text())
    config["description"] = "${TOKEN}"
    write_text(run.config_file, yaml.safe_dump(config))
    seal(run)
    for read in (lambda: Run(run.folder).config(), lambda: build_report(run.folder)):
        with pytest.raises(ConfigError, match="TOKEN is not read from the environment"):
            read()
    config["description"] = "$${TOKEN}"
    config["policy"] = {"waivers": "/nowhere/waivers.yaml"}
    write_text(run.config_file, yaml.safe_dump(config))
    write_text(run.waivers, "waivers: [{owner: '${TOKEN}'}]\n")
    seal(run)
    assert Run(run.folder).config().description == "${TOKEN}"
    with pytest.raises(ConfigError, match="TOKEN is not read from the environment"):
        judge_again(run, today())


def test_the_local_server_listens_on_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", "0.0.0.0")  # must not win
    called: list[list[str]] = []

    class Served:
        def __init__(self, command: list[str], **_: Any) -> None:
            called.append(command)

        def poll(self) -> int:
            return 1

        def terminate(self) -> None: ...

        def wait(self, timeout: float | None = None) -> None: ...

    monkeypatch.setattr(server.subprocess, "Popen", Served)
    with pytest.raises(RunError, match="did not start"), server.local_server():
        pass
    (command,) = called
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_no_library_reports_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings.QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    settings.apply()
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    from prefect._internal.analytics.enabled import is_telemetry_enabled
    from prefect.settings.models.root import Settings

    assert not is_telemetry_enabled()
    assert not Settings().server.analytics_enabled


@dataclass(frozen=True)
class Audited:
    """A finished run, and all that was said while it ran."""

    run: Run
    said: str


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """A run with a secret in its environment, and in its manifest a column that nobody named."""
    folder = tmp_path_factory.mktemp("secrets")
    config = write_tiny(folder / "data")
    manifest = pd.read_csv(config.parent / "manifest.csv").assign(patient=PRIVATE)
    manifest.loc[0, "path"] = "images/gone.png"  # which is told
    manifest.to_csv(config.parent / "manifest.csv", index=False)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setenv("API_TOKEN", SECRET)
        patch.setattr(logging.root, "handlers", [handler])
        patch.setattr(logging.root, "level", logging.DEBUG)
        options = {"output.folder": str(folder / "runs"), "data.max_bad_fraction": "0.5"}
        run = start_or_resume(load_config(config, options))
        run_directly(run)
    return Audited(run, said.getvalue() + run.log.read_text())


def test_a_run_holds_no_secret_of_the_environment(audited: Audited) -> None:
    """Nor does it hold what the manifest says in columns that the configuration does not name."""
    files = [path for path in audited.run.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path.name
        assert PRIVATE.encode() not in content, path.name


def test_what_is_logged_holds_no_values_of_samples(audited: Audited) -> None:
    assert SECRET not in audited.said
    assert PRIVATE not in audited.said
    (bad,) = (line for line in audited.said.splitlines() if '"quarantined"' in line)
    assert '"kind": "missing image"' in bad
    told = audited.said.replace(json.loads(bad)["sample"], "")  # ids are told
    assert not re.search(r"images/|\b(light|dark)\b", told)


def test_workers_of_a_run_answer_to_nobody_else() -> None:
    with runners._dask_cluster([{}]) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        assert len(cluster.workers) == 1
        stranger = distributed.Security.temporary()  # type: ignore[no-untyped-call]
        for credentials in ({}, {"security": stranger}):
            with pytest.raises((OSError, TypeError)):
                distributed.Client(address, timeout=3, **credentials)
