"""Manifests in CSV and Parquet, folders of pictures, the embedded scenes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.config import Audit, Data
from audit.data import check_dataset, open_dataset
from audit.data.cache import cache_folder
from audit.data.sources import SOURCES, read_samples
from audit.errors import DataError
from tests.data.conftest import Fixture, codes, picture


def table(folder: Path, content: str | bytes, name: str = "manifest.csv") -> pd.DataFrame:
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    return read_samples(Data(root=folder, manifest=name)).rows


def test_the_built_in_sources_are_registered() -> None:
    assert set(SOURCES) == {"manifest", "folder", "scenes"}


@pytest.mark.parametrize("text", ["", "nan", "NaN", " ", "<NA>", "null", "NULL"])
def test_a_missing_value_is_an_empty_text(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, f"a,b\n1,{text}\n")["b"].tolist() == [""]


@pytest.mark.parametrize("text", ["NA", "none", "None", "0", "-", "unknown", "N/A"])
def test_a_value_that_only_looks_missing_is_kept(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, f"a,b\n1,{text}\n")["b"].tolist() == [text]


def test_csv_with_mark_quotes_and_foreign_line_ends(tmp_path: Path) -> None:
    rows = table(tmp_path, b'\xef\xbb\xbfa,b\r\n"x,""y""\nz",\xc3\xa9\r\n\r\n007,1.0\r\n')
    assert rows.to_dict("list") == {"a": ['x,"y"\nz', "007"], "b": ["é", "1.0"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2,3\n", "manifest.csv:2: 3 values for 2 columns"),
        ("a,b\n1\n", "manifest.csv:2: 1 values for 2 columns"),
        ("a,a\n1,2\n", "two columns have the same name"),
        ("a,b\n", "no samples found"),
        ("", "no samples found"),
        (b"a,b\n\xff\xfe,1\n", "not a readable CSV table in UTF-8"),
        ('a,b\n"1,2\n', "not a readable CSV table"),
    ],
)
def test_a_broken_csv_is_an_error(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, content)


def test_a_broken_parquet_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable Parquet table"):
        table(tmp_path, b"PAR1 but not really", "x.parquet")


def test_parquet_becomes_text(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["a", None]).dictionary_encode(),
        "integer": pa.array([1, None]),
        "float": pa.array([1.0, float("nan")]),
        "flag": pa.array([True, None]),
        "nested": pa.array([[1], [2]]),
        "thumbnail": pa.array([b"\xff", b"\xfe"]),
        "large": pa.array([b"\xff", None], pa.large_binary()),
        "fixed": pa.array([b"\xff", None], pa.binary(1)),
        "coded": pa.array([b"\xff", None]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    rows = read_samples(Data(root=tmp_path, manifest="x.parquet")).rows
    assert rows.to_dict("list") == {
        "text": ["a", ""],
        "integer": ["1", ""],
        "float": ["1", ""],
        "flag": ["true", ""],
    }


def test_parquet_of_text_that_is_none_is_an_error(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())  # not UTF-8
    pq.write_table(pa.table({"a": text}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="not a readable Parquet table"):
        read_samples(Data(root=tmp_path, manifest="x.parquet"))


def test_csv_and_parquet_open_alike(tiny: Fixture) -> None:
    tiny.data |= {"attributes": ["gender"]}
    first = tiny.open()
    pd.DataFrame(tiny.rows).to_parquet(tiny.folder / "m.parquet")
    tiny.data["manifest"] = "m.parquet"
    second = tiny.open()
    pd.testing.assert_frame_equal(first.samples, second.samples)
    pd.testing.assert_frame_equal(first.rows, second.rows)


def pictures(root: Path, *paths: str) -> None:
    for index, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(index)).save(root / path)


def of_folder(root: Path, **data: object) -> Audit:
    source = {"encoding": "codes", "values": {"face": 1}}
    settings = {"source": "folder", "root": root, "validation": 0, **data}
    return Audit.model_validate(
        {
            "name": "folder",
            "data": settings,
            "regions": {"source": source},
            "model": {} if "train" in data else {"checkpoint": "x.pt"},
        }
    )


def test_a_folder_of_splits_and_classes(tmp_path: Path) -> None:
    paths = [
        f"{s}/{c}/{i}.png" for s in ("train", "test") for c in ("cat", "dog 🐶") for i in (0, 1)
    ]
    pictures(tmp_path, *paths)
    (tmp_path / "README.txt").write_text("not a picture")
    (tmp_path / "train" / "cat" / ".hidden.png").write_bytes(b"")
    for path in paths:
        (tmp_path / "masks" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(codes()).save(tmp_path / "masks" / path)

    config = of_folder(tmp_path, train={"split": "train"}, audit={"split": "test"})
    samples, properties = check_dataset(open_dataset(config), workers=2)
    areas = np.stack(properties["areas"].to_list())

    assert samples["sample_id"].tolist() == sorted(paths)
    assert samples["path"].tolist() == sorted(paths)
    assert samples["label"].tolist() == ["cat", "cat", "dog 🐶", "dog 🐶"] * 2
    assert samples["part"].tolist() == ["audit"] * 4 + ["train"] * 4
    np.testing.assert_allclose(areas, (codes() == 1).mean(), rtol=1e-6)


def test_a_folder_of_classes(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/0.png", "dog/0.jpg", "dog/1.JPEG")
    dataset = open_dataset(of_folder(tmp_path))
    assert dataset.samples["label"].tolist() == ["cat", "dog", "dog"]
    assert set(dataset.rows["split"]) == {""}
    samples, _ = check_dataset(dataset, workers=1)
    assert samples["reason"].tolist() == ["missing mask: no path is given"] * 3


@pytest.mark.parametrize("odd", ["0.png", "train/cat/far/0.png"])
def test_a_picture_in_no_class_folder_is_an_error(tmp_path: Path, odd: str) -> None:
    pictures(tmp_path, "cat/1.png", "dog/1.png", odd)
    with pytest.raises(DataError, match=f"all in <split>/<class>/; see '{odd}'"):
        open_dataset(of_folder(tmp_path))


def test_a_linked_folder_is_an_error(tmp_path: Path) -> None:
    pictures(tmp_path / "data", "cat/0.png", "dog/0.png")
    pictures(tmp_path, "elsewhere/0.png")
    (tmp_path / "data" / "bird").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="'bird' is a link to a folder"):
        open_dataset(of_folder(tmp_path / "data"))


def test_a_linked_folder_of_masks_or_a_hidden_one_is_none_of_the_classes(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/0.png", "dog/0.png")
    (tmp_path / "cat" / ".cache").symlink_to(tmp_path)
    (tmp_path / "masks").symlink_to(tmp_path)
    dataset = open_dataset(of_folder(tmp_path))
    assert dataset.rows["path"].tolist() == ["cat/0.png", "dog/0.png"]


def test_every_format_that_is_decoded_is_listed(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/0.png", "dog/0.png", "dog/1.jp2", "dog/2.jfif", "dog/3.PGM")
    (tmp_path / "dog" / "4.psd").write_bytes(b"")
    dataset = open_dataset(of_folder(tmp_path))
    assert [Path(path).name for path in dataset.rows["path"]][1:] == [
        "0.png",
        "1.jp2",
        "2.jfif",
        "3.PGM",
    ]


def test_columns_cannot_be_named_for_a_folder(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/0.png", "dog/0.png")
    with pytest.raises(DataError, match=r"data\.columns: .*'folder' .*'manifest'"):
        open_dataset(of_folder(tmp_path, columns={"cluster_id": "patient"}))


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples found"):
        open_dataset(of_folder(tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_quarantined(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/0.png", "dog/0.png")
    try:
        os.link(tmp_path / "dog/0.png", os.fsencode(tmp_path) + b"/dog/\xff.png")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    samples, _ = check_dataset(open_dataset(of_folder(tmp_path)), workers=1)
    assert samples["reason"].iloc[-1].startswith("missing image")


def demo(**data: object) -> Audit:
    source = {"encoding": "codes", "values": {"face": 1, "hair": 2, "clothing": 3, "tools": 4}}
    settings = {"source": "scenes", "scenes": {"train": 16, "audit": 20, "size": 32}, **data}
    return Audit.model_validate(
        {
            "name": "demo",
            "data": settings,
            "regions": {"source": source},
            "execution": {"workers": 1},
        }
    )


def test_scenes_are_drawn_once_into_the_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path))
    drawn: list[int] = []
    dataset = open_dataset(demo(attributes=["gender"]), progress=drawn.append)

    samples, properties = check_dataset(dataset, workers=1)
    areas = np.stack(properties["areas"].to_list())

    assert drawn[-1] == 36
    assert samples["part"].value_counts()["audit"] == 20
    assert {"train", "validation"} < set(samples["part"])
    assert (samples["status"] == "ok").all()
    assert (areas[:, 3] > 0).all()
    assert len(list(tmp_path.iterdir())) == 1

    again = open_dataset(demo(attributes=["gender"]), progress=drawn.append)
    assert len(drawn) == len(set(drawn))
    pd.testing.assert_frame_equal(again.samples, dataset.samples)


def test_other_scenes_go_to_another_folder_under_the_root(tmp_path: Path) -> None:
    for seed in (0, 1):
        open_dataset(
            demo(root=tmp_path, scenes={"train": 8, "audit": 20, "size": 32, "seed": seed})
        )
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch) -> None:
    monkeypatch.delenv("CUECHECK_CACHE", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "cuecheck"
