"""A table read part by part is the table; what is none is refused as a whole one is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import RunError
from audit.parts import Parts, parts_of
from audit.tables import ATTENTION, read_table, to_arrow

COLUMNS = ("sample_id", "region", "share")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Row groups of other sizes than the parts, each with a dictionary of its own."""
    path = tmp_path / "attention.parquet"
    with pq.ParquetWriter(path, ATTENTION.schema()) as writer:
        for start, regions in ((0, ["face", "hair"]), (5, ["tools"]), (12, ["hair", "face"])):
            rows = pd.DataFrame({"sample_id": [f"s{start + i}" for i in range(7)]})
            rows["region"] = [regions[i % len(regions)] for i in range(7)]
            rows["explained"] = ["true" if i % 3 else "predicted" for i in range(7)]
            rows = rows.assign(method="grad-cam", target_class="a", share=float(start), area=0.1)
            rows = rows.assign(rho=1.0, pointing=0.0, dead=False, measurable=True)
            writer.write_table(to_arrow(rows, ATTENTION))
    return path


def plain(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(frame.itertuples(index=False, name=None))


@pytest.mark.parametrize("rows", [1, 4, 7, 100])
@pytest.mark.parametrize("where", [{}, {"explained": "true"}])
def test_the_parts_are_the_table(stored: Path, rows: int, where: dict[str, str]) -> None:
    parts = Parts(stored, COLUMNS, where, rows)
    whole = plain(read_table(stored, ATTENTION, COLUMNS, where))
    for _ in range(2):  # it can be read again
        assert [row for part in parts for row in plain(part)] == whole
    assert all(len(part) <= rows and tuple(part) == COLUMNS for part in parts)


def test_a_table_in_memory_is_its_only_part(stored: Path) -> None:
    frame = read_table(stored, ATTENTION)
    assert [id(part) for part in parts_of(frame)] == [id(frame)]


def test_what_is_no_such_table_is_refused(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such table; the run did not get that far"):
        list(Parts(tmp_path / "maps.parquet", COLUMNS))
    with pytest.raises(RunError, match=r"column\(s\) missing: map"):
        list(Parts(stored, (*COLUMNS, "map")))
    stored.write_bytes(b"no table")
    with pytest.raises(RunError, match="not a readable Parquet file"):
        list(Parts(stored, COLUMNS))


def test_columns_left_out_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "attention.parquet"
    pq.write_table(pa.Table.from_pylist([], ATTENTION.schema()), path)
    names = [column.name for column in ATTENTION.columns if column.name not in ("rho", "area")]
    assert list(read_table(path, ATTENTION, without=("rho", "area"))) == names
