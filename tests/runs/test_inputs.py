from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.config import Audit
from audit.errors import RunError
from audit.runs import inputs
from audit.runs.inputs import files_changed, model_files, with_files
from audit.tables import FILES, read_table, write_table


def table(path: Path, files: dict[tuple[str, str], str | None]) -> Path:
    rows = [(*key, None if sha is None else 1, sha) for key, sha in files.items()]
    frame = pd.DataFrame(rows, columns=[column.name for column in FILES.columns])
    write_table(frame.astype({"bytes": "Int64"}), FILES, path)
    return path


@pytest.mark.parametrize("at_once", [1, 3, 1_000_000])
def test_each_kind_of_change_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(inputs, "_AT_ONCE", at_once)
    before = {
        ("picture", "same.png"): "a",
        ("picture", "other.png"): "b",
        ("mask", "other.png"): "b",
        ("picture", "gone.png"): "c",
        ("picture", "unlisted.png"): "d",
        ("picture", "never.png"): None,
        ("picture", "back.png"): None,
    }
    now = {
        ("picture", "same.png"): "a",
        ("picture", "other.png"): "x",
        ("mask", "other.png"): "b",
        ("picture", "gone.png"): None,
        ("picture", "never.png"): None,
        ("picture", "back.png"): "e",
        ("picture", "more.png"): "f",
        ("picture", "none.png"): None,
    }
    paths = [table(tmp_path / f"{i}.parquet", files) for i, files in enumerate((before, now))]
    assert files_changed(*paths) == [
        "changed: 'other.png'",
        "missing: 'gone.png'",
        "no longer listed: 'unlisted.png'",
        "new: 'back.png' 'more.png'",
    ]
    assert files_changed(paths[0], paths[0]) == []


def test_the_first_few_are_named_on_one_line_and_the_rest_counted(tmp_path: Path) -> None:
    names = ["a\n\x85b", "b" * 500, *(f"c{i:04}" for i in range(1998))]
    old, new = (
        table(tmp_path / sha, {("picture", name): sha for name in names}) for sha in ("x", "y")
    )
    (told,) = files_changed(old, new)
    assert told == f"changed: 'a b' '{'b' * 120}' 'c0000' and 1,997 more"


def test_the_files_of_the_model_follow_those_of_the_data(tmp_path: Path) -> None:
    data = table(tmp_path / "data.parquet", {("picture", "a.png"): "a", ("mask", "b.png"): None})
    (tmp_path / "weights.safetensors").write_bytes(b"12345")
    tree: dict[str, Any] = {
        "name": "x",
        "data": {"root": ".", "train": {"split": "train"}, "audit": {"split": "test"}},
        "regions": {"source": {"encoding": "masks", "columns": {"face": "mask"}}},
        "model": {
            "architecture": "my.module:factory",
            "checkpoint": tmp_path / "weights.safetensors",
        },
    }
    digests = {"checkpoint": "w", "factory": "f", "data": "d"}
    with_files(data, model_files(Audit.model_validate(tree), digests), tmp_path / "all.parquet")
    found = read_table(tmp_path / "all.parquet", FILES).astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == [
        ["picture", "a.png", 1, "a"],
        ["mask", "b.png", None, None],
        ["weights", "weights.safetensors", 5, "w"],
        ["factory", "my.module:factory", None, "f"],
    ]
    trained = Audit.model_validate({**tree, "model": {}})
    assert model_files(trained, {"data": "d"}) == []


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1"])
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes) -> None:
    good = table(tmp_path / "good.parquet", {("picture", "a.png"): "a"})
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(content)
    with pytest.raises(RunError, match=r"bad\.parquet: not a readable table of files"):
        files_changed(good, bad)
    with pytest.raises(RunError, match=r"bad\.parquet: not a readable table of files"):
        with_files(bad, [], tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()
