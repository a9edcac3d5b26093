"""Comparing runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audit.tables import TABLES, read_table


def assert_same_tables(one: Path, other: Path) -> None:
    for table in TABLES.values():
        first = read_table(one / f"{table.name}.parquet", table)
        second = read_table(other / f"{table.name}.parquet", table)
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    for name in ("findings.json", "verdict.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
