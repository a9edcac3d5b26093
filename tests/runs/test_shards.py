"""Merged shards are the shards, in any row groups, and samples keep what was said of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from audit.runs import shards
from audit.runs.shards import MEASURED, merge_samples, merge_shards
from audit.tables import ATTENTION, MAPS, SAMPLES, read_table, write_table
from tests.benchmarks.large_run import SHARD, write_run


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(dict.fromkeys(frame.select_dtypes("category"), object))


def folders_of(run: Path) -> list[Path]:
    return sorted((run / "shards").glob("*/*"))


@pytest.mark.parametrize("size", [1, 2**24])
def test_row_groups_change_nothing(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = folders_of(write_run(tmp_path / "run", 3 * SHARD - 5).folder)
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", size)
    for table in (ATTENTION, MAPS):
        target = tmp_path / f"{table.name}.parquet"
        merge_shards(folders, table, target)
        parts = [plain(read_table(folder / target.name, table)) for folder in folders]
        merged = plain(read_table(target, table))
        assert_frame_equal(merged, pd.concat(parts, ignore_index=True))
        assert pq.read_metadata(target).num_row_groups == (3 if size == 1 else 1)
        assert pq.read_schema(target) == table.schema()


def test_samples_keep_what_the_model_said_of_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 2 * SHARD)
    checked = read_table(run.checked, SAMPLES).sample(frac=1, random_state=0)
    strange = checked.head(3).assign(sample_id=["x", "y", "z"], status="quarantined", reason="bad")
    checked = pd.concat([strange, checked], ignore_index=True)
    write_table(checked, SAMPLES, run.checked)
    merge_samples(folders_of(run.folder), run.checked, tmp_path / "samples.parquet")
    found = plain(read_table(tmp_path / "samples.parquet", SAMPLES))
    shard = [read_table(f / "samples.parquet", SAMPLES) for f in folders_of(run.folder)]
    said = pd.concat([plain(one) for one in shard])[["sample_id", *MEASURED]]
    expected = plain(checked).drop(columns=list(MEASURED)).merge(said, on="sample_id", how="left")
    assert_frame_equal(found, expected[list(found)], check_dtype=False)
    assert found.loc[:2, list(MEASURED)].isna().all(axis=None)
    names = [*(column.name for column in SAMPLES.columns), "attribute:gender"]
    assert list(found) == names


def test_a_run_without_shards_has_samples_all_the_same(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 4)
    merge_samples([], run.checked, tmp_path / "samples.parquet")
    merge_shards([], ATTENTION, tmp_path / "attention.parquet")
    assert (
        read_table(tmp_path / "samples.parquet", SAMPLES)["prediction"].isna().tolist()
        == [True] * 4
    )
    assert read_table(tmp_path / "attention.parquet", ATTENTION).empty
