"""What is missing is counted over all rows as the data check counts it, without opening files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data.dataset import check_dataset
from audit.data.files import LocalFiles
from audit.data.presence import _lacking, absent_regions, missing_files
from tests.data.conftest import CODES, Fixture, codes


def warnings(tiny: Fixture) -> list[str]:
    return missing_files(tiny.config(), tiny.open())


def test_all_there_is_no_warning(tiny: Fixture) -> None:
    assert warnings(tiny) == []


def test_rows_that_lack_a_file_are_counted_in_each_part(tiny: Fixture) -> None:
    tiny.rows[0]["path"] = "images/none.png"
    tiny.rows[5]["mask"] = ""
    tiny.rows[6]["path"] = "../outside.png"
    tiny.data["max_bad_fraction"] = 0.5
    assert sorted(warnings(tiny)) == [
        "1 of 4 rows of the train part lack their picture or mask, the first is 'sample-0'",
        "2 of 4 rows of the audit part lack their picture or mask, the first is 'sample-5'",
    ]
    tiny.data["max_bad_fraction"] = 0.49
    told = [text for text in warnings(tiny) if text.endswith("the run would stop")]
    assert [text[:6] for text in told] == ["2 of 4"]
    assert "2 rows cannot be used, more than data.max_bad_fraction = 0.49 allows" in told[0]


def test_rows_that_the_manifest_spoils_count_towards_the_limit(tiny: Fixture) -> None:
    tiny.rows[6]["path"] = "images/none.png"
    tiny.rows[5]["label"] = ""
    tiny.data |= {"max_bad_fraction": 0.3, "classes": ["doctor", "nurse"]}
    (told,) = warnings(tiny)
    assert told.startswith("1 of 4 rows of the audit part")
    assert "; 2 rows cannot be used" in told


@pytest.mark.parametrize("encoding", ["codes", "masks", "boxes"])
def test_the_check_of_the_run_finds_the_same_rows(tiny: Fixture, encoding: str) -> None:
    rng = np.random.default_rng(0)
    for row in tiny.rows:
        row |= {"second": row["mask"], "x": "1", "y": "1", "u": "9", "v": "9"}
        for column in rng.permutation(["path", "mask", "second"])[: rng.integers(3)]:
            row[str(column)] = str(rng.choice(["", "none.png"]))
    tiny.regions["source"] = {
        "codes": {"encoding": "codes", "values": CODES},
        "masks": {"encoding": "masks", "columns": {"face": "mask", "tool": "second"}},
        "boxes": {"encoding": "boxes", "columns": {"face": ["x", "y", "u", "v"]}},
    }[encoding]
    dataset = tiny.open()
    checked, _ = check_dataset(dataset, workers=1)
    assert 0 < (checked["status"] != "ok").sum() < len(checked)
    found = _lacking(tiny.config(), dataset)
    assert found.tolist() == (checked["status"] != "ok").tolist()


def test_of_remote_data_nothing_is_asked(tiny: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.victim["path"] = "images/none.png"
    dataset = tiny.open()
    monkeypatch.setattr("audit.data.presence.LocalFiles", type("Other", (), {}))
    assert isinstance(dataset.files, LocalFiles)
    assert missing_files(tiny.config(), dataset) == []


def absent(tiny: Fixture) -> list[str]:
    dataset = tiny.open()
    return absent_regions(tiny.config(), dataset, *check_dataset(dataset, workers=1))


def test_regions_and_values_that_no_mask_holds_are_told(tiny: Fixture) -> None:
    assert absent(tiny) == []
    tiny.regions["source"]["values"] = {"face": 1, "tool": [2, 7, 30], "hair": 4}
    held = "; check regions.source.values, the masks hold 0, 1, 2, 3, 9"
    assert absent(tiny) == [
        f"region 'hair' is in none of the 8 samples tried{held}",
        f"value 7, 30 of region 'tool' is in no mask of the 8 samples tried{held}",
    ]
    tiny.victim["mask"] = "masks/other.png"
    other = np.where(codes() == 0, 4, 7).astype(np.uint8)
    Image.fromarray(other).save(tiny.folder / "masks/other.png")
    assert [text.split(" of region")[0] for text in absent(tiny)] == ["value 30"]


def test_a_region_is_told_whatever_its_encoding(tiny: Fixture) -> None:
    Image.fromarray(np.zeros_like(codes())).save(tiny.folder / "masks/none.png")
    for row in tiny.rows:
        row["second"] = "masks/none.png"
    columns = {"face": "mask", "tool": "second"}
    tiny.regions["source"] = {"encoding": "masks", "columns": columns}
    assert absent(tiny) == ["region 'tool' is in none of the 8 samples tried; check regions.source"]


def test_samples_that_cannot_be_read_say_nothing_of_regions(tiny: Fixture, tmp_path: Path) -> None:
    for row in tiny.rows:
        (tiny.folder / row["path"]).write_bytes(b"no picture")
    assert absent(tiny) == []
