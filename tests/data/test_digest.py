"""The table of files tells of each what ``hashlib`` does; the digests are as without it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from audit.data import digest
from audit.data.digest import data_digests
from audit.tables import FILES, read_table
from tests.data.conftest import Fixture


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(tiny: Fixture, target: Path) -> pd.DataFrame:
    dataset = tiny.open()
    with_table = data_digests(tiny.config(), dataset, target)
    assert with_table == data_digests(tiny.config(), dataset)
    return read_table(target, FILES)


@pytest.mark.parametrize("at_once", [1, 3, 1 << 16])
def test_each_file_is_told_once_with_its_size_and_digest(
    tiny: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(digest, "_AT_ONCE", at_once)
    for row in tiny.rows[:3]:
        row["mask"] = tiny.rows[0]["mask"]
    tiny.rows[3]["mask"] = ""
    tiny.victim["path"] = "images/none.png"
    files = files_of(tiny, tmp_path / "files.parquet")
    masks = list(dict.fromkeys(row["mask"] for row in tiny.rows if row["mask"]))
    pictures = [row["path"] for row in tiny.rows]
    assert list(files["path"]) == ["manifest.csv", *masks, *pictures]
    assert list(files["kind"]) == ["manifest"] + ["mask"] * len(masks) + ["picture"] * len(pictures)
    assert files.iloc[-1][["bytes", "sha256"]].isna().all()
    for row in files[:-1].itertuples():
        path = tiny.folder / str(row.path)
        assert (row.bytes, row.sha256) == (path.stat().st_size, sha(path))


def test_paths_are_from_the_root_also_where_the_manifest_lies_deeper(
    tiny: Fixture, tmp_path: Path
) -> None:
    tiny.write()
    tiny.data = {"root": tmp_path, "manifest": "data/manifest.csv"}
    files = files_of(tiny, tmp_path / "files.parquet")
    assert set(files["path"].str.split("/").str[0]) == {"data"}
    assert all(sha(tmp_path / row.path) == row.sha256 for row in files.itertuples())


def test_annotations_are_told_by_their_file(tiny: Fixture, tmp_path: Path) -> None:
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "face"}]}
    (tiny.folder / "coco.json").write_text(json.dumps(coco))
    tiny.regions = {
        "source": {"encoding": "coco", "file": "coco.json", "categories": {"face": "face"}}
    }
    files = files_of(tiny, tmp_path / "files.parquet").set_index("path")
    assert files.loc["coco.json", "kind"] == "annotation"
    assert files.loc["coco.json", "sha256"] == sha(tiny.folder / "coco.json")
