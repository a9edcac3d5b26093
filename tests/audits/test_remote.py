"""The same data on disk, in memory and in an S3 bucket give the same digests and tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest

from audit.config import Data
from audit.config_file import load_config
from audit.data.copies import _store
from audit.data.files import files_of
from audit.data.sources import read_samples
from audit.errors import DataError
from audit.runs.folder import Run, start_or_resume
from audit.runs.record import check_record
from audit.tables import TABLES
from flows.direct import run_directly
from tests.tiny import write_tiny

KEY, SECRET = "canary-of-the-key", "canary-of-the-secret-key"
SMALL = {"model.train.epochs": "1", "checks.enabled": "false", "discovery.enabled": "false"}
SMALL |= {"data.max_bad_fraction": "0.5"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of an S3 server on loopback, with its credentials in the environment."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:{1}".format(*server.get_host_and_port()))
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = s3fs.S3FileSystem(skip_instance_cache=True)
        system.mkdir("ward")
        yield system
    server.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run on a folder; nothing it fetches is shared with other tests."""
    folder = tmp_path_factory.mktemp("remote")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUECHECK_CACHE", str(folder / "cache"))
        config = write_tiny(folder / "data")
        (config.parent / "images/test-disc-dark-0.png").write_bytes(b"no picture")
        (config.parent / "masks/test-disc-dark-1.png").unlink()
        manifest = config.parent / "manifest.csv"
        manifest.write_text(manifest.read_text().replace("images/test-disc-dark-2", "../../x"))
        yield run_on(config, ".", folder / "local")


def run_on(config: Path, root: str, out: Path) -> Run:
    run = start_or_resume(load_config(config, {**SMALL, "data.root": root}), out)
    run_directly(run)
    check_record(run)
    return run


def run_elsewhere(local: Run, system: Any, place: str, url: str, out: Path) -> Run:
    """The same audit on a copy of the data in a store."""
    data = local.folder.parent / "data"
    for path in data.glob("**/*.*"):
        system.pipe_file(f"{place}/{path.relative_to(data).as_posix()}", path.read_bytes())
    return run_on(data / "audit.yaml", url, out)


def assert_same(one: Run, other: Run) -> None:
    hashes = [json.loads(run.provenance.read_text())["sha256"] for run in (one, other)]
    for key in ("data", "annotations", "manifest", "samples", "weights"):
        assert hashes[0][key] == hashes[1][key], key
    compared = 0
    for name in TABLES:
        paths = [run.table(name) for run in (one, other)]
        assert paths[0].is_file() == paths[1].is_file(), name
        if paths[0].is_file():
            pd.testing.assert_frame_equal(*map(pd.read_parquet, paths))
            compared += 1
    assert compared > 8
    assert (pd.read_parquet(one.table("samples"))["status"] == "quarantined").sum() == 3


def test_an_audit_of_a_bucket_equals_that_of_the_folder(
    local: Run, bucket: Any, tmp_path: Path
) -> None:
    remote = run_elsewhere(local, bucket, "ward/scans", "s3://ward/scans", tmp_path / "run")
    assert_same(local, remote)
    assert remote.config().data.root == "s3://ward/scans"
    for path in remote.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content, path.name
            assert SECRET.encode() not in content, path.name


def test_an_audit_of_a_store_in_memory_equals_that_of_the_folder(
    local: Run, tmp_path: Path
) -> None:
    memory = fsspec.filesystem("memory")
    assert_same(local, run_elsewhere(local, memory, "/clinic", "memory://clinic", tmp_path / "run"))
    memory.store.clear()


def test_two_that_share_an_empty_cache_but_no_locks_read_what_is_there(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two processes do."""
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path))
    contents = [os.urandom(100_000) for _ in range(30)]
    for number, content in enumerate(contents):
        bucket.pipe_file(f"ward/shared/{number}.bin", content)
    stores = [_store("s3://ward/shared", process) for process in (-1, -2)]
    assert not set(stores[0].locks) & set(stores[1].locks)
    with ThreadPoolExecutor(8) as pool:
        wanted = [(store, number) for number in range(len(contents)) for store in stores]
        read = pool.map(lambda item: item[0].copy_of(f"{item[1]}.bin").read_bytes(), wanted)
        assert list(read) == [contents[number] for _, number in wanted]
    copies = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in copies) == sorted(contents)


def test_a_bucket_that_is_not_there_is_told(bucket: Any) -> None:
    with pytest.raises(DataError, match=r"data\.manifest: no such file: s3://nobodys/"):
        files_of("s3://nobodys/scans").table("manifest.csv", "data.manifest")


def test_class_folders_of_a_bucket_are_listed(bucket: Any) -> None:
    bucket.pipe_file("ward/classes/nurse/b.png", b"-")
    bucket.pipe_file("ward/classes/doctor/a.png", b"-")
    bucket.pipe_file("ward/classes-of-others/doctor/a.png", b"-")
    manifest = read_samples(Data(source="folder", root="s3://ward/classes"))
    assert list(manifest.rows["path"]) == ["doctor/a.png", "nurse/b.png"]
