from __future__ import annotations

from pathlib import Path

import pytest

from audit.config import Data
from audit.config_file import dump_config, load_config
from audit.errors import ConfigError
from tests.tiny import write_tiny

PASSWORD = "hunter2-canary"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/scans", "s3://bucket/scans"),
        ("S3://bucket/scans//", "s3://bucket/scans"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("memory://", "memory:"),
        ("file:///srv/data", Path("/srv/data")),
        ("data/scans", Path("data/scans")),
        ("odd:name", Path("odd:name")),
    ],
)
def test_a_url_stays_a_url_and_a_path_a_path(given: str, kept: str | Path) -> None:
    root = Data(root=given).root
    assert root == ("memory://" if kept == "memory:" else kept)
    assert isinstance(root, type(kept))


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{PASSWORD}@bucket/scans",
        f"sftp://user:{PASSWORD}@host/scans",
        f"https://host/scans?token={PASSWORD}",
        f"https://{PASSWORD}@host/scans",
        f"https://user:{PASSWORD}/with/slashes@host/scans",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    config = write_tiny(tmp_path)
    with pytest.raises(ConfigError, match=r"audit\.yaml:3: data\.root: a URL must hold") as told:
        config.write_text(config.read_text().replace("root: .", f"root: '{url}'"))
        load_config(config)
    assert PASSWORD not in str(told.value)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("zip://a.zip", "unknown protocol 'zip'; known are: file, s3"),
        ("simplecache://x", "unknown protocol 'simplecache'"),
        ("s3://bucket/x::zip://y", "without '::'"),
        ("s3://bucket/../other", "without '::', '..' and backslashes"),
        ("s3://", "must name a bucket"),
        ("file://host/x", "must be absolute"),
    ],
)
def test_a_url_that_is_no_plain_place_is_refused(tmp_path: Path, url: str, fault: str) -> None:
    with pytest.raises(ConfigError) as told:
        load_config(write_tiny(tmp_path), {"data.root": url})
    assert fault in str(told.value)
    assert "\n" not in str(told.value)


def test_a_url_is_written_and_read_back_as_it_is(tmp_path: Path) -> None:
    config = load_config(write_tiny(tmp_path), {"data.root": "s3://bucket/scans"})
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml", sealed=True) == config
    assert config.data.root == "s3://bucket/scans"


def test_scenes_are_not_drawn_into_a_url(tmp_path: Path) -> None:
    settings = {"data.root": "s3://bucket/scans", "data.source": "scenes"}
    with pytest.raises(ConfigError, match="cannot be a URL"):
        load_config(write_tiny(tmp_path), settings)
