"""Whether two runs audited the same pictures is told by their hashes, where both have them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audit.comparison import compare_runs
from audit.runs.folder import Run
from audit.runs.record import seal
from audit.tables import FILES, SAMPLES, read_table, write_table
from tests.reports.runs import sealed_run


def with_hashes(run: Run, other: str | None = None) -> Run:
    """The run with a picture a sample and a table of files, in which one has another hash."""
    samples = read_table(run.table("samples"), SAMPLES)
    samples["path"] = samples["sample_id"] + ".png"
    write_table(samples, SAMPLES, run.table("samples"))
    files = pd.DataFrame({"kind": "picture", "path": samples["path"], "bytes": 1, "sha256": "a"})
    files.loc[samples["sample_id"] == other, "sha256"] = "b"
    write_table(files, FILES, run.table("files"))
    seal(run)
    return run


def test_a_picture_with_another_hash_is_altered(tmp_path: Path) -> None:
    before = sealed_run(tmp_path / "before", n=200)
    assert compare_runs(before, sealed_run(tmp_path / "bare", n=200, day=2)).data.same
    with_hashes(before)
    now = with_hashes(sealed_run(tmp_path / "now", n=200, day=3))
    assert compare_runs(before, now).data.same
    altered = with_hashes(sealed_run(tmp_path / "altered", n=200, day=4), "s00007")
    data = compare_runs(before, altered).data
    assert data.altered == ["s00007"]
    assert data.checked
    assert not data.same


def test_hashes_count_before_properties(tmp_path: Path) -> None:
    """Pictures that were saved again look the same and are other files, and the other way round."""
    before = with_hashes(sealed_run(tmp_path / "before", n=200))
    shaded = with_hashes(sealed_run(tmp_path / "shaded", n=200, shade=7, day=2))
    assert compare_runs(before, shaded).data.same
