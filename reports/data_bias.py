"""What the data gives away: associations, near-duplicates, and what the model makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from audit.data.duplicates import duplicate_warnings
from audit.tables import ALL, ASSOCIATION, DUPLICATES, Table, empty, read_table
from reports.run import Record, Run

ROWS = 40
PAIRS = 20


def data_bias(run: Run) -> dict[str, Any]:
    """Associations of the label (strongest first), duplicates, and the 2x2 with reliance."""
    association = _optional(run.folder, ASSOCIATION)
    duplicates = _optional(run.folder, DUPLICATES)
    shown = _shown(association)
    return {
        "associations": shown.head(ROWS).to_dict("records"),
        "more_associations": max(0, len(shown) - ROWS),
        "matrix": _matrix(run.findings),
        "warnings": duplicate_warnings(duplicates),
        "duplicates": duplicates.head(PAIRS).to_dict("records"),
    }


def _optional(folder: Path, table: Table) -> pd.DataFrame:
    """A table that older runs do not have."""
    path = folder / f"{table.name}.parquet"
    rows = read_table(path, table) if path.is_file() else empty(table)
    return rows.astype({name: object for name in rows if rows[name].dtype == "category"})


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each factor and part: of all classes, or of the class that it tells best."""
    measured = rows[(rows["measure"] == "auc") | (rows["target_class"] == ALL)]
    strength = measured["effect"].where(
        measured["measure"] == "cramers_v", 2 * (measured["effect"] - 0.5).abs()
    )
    ranked = measured.assign(strength=strength).sort_values(
        ["strength", "part", "factor", "target_class"], ascending=[False, True, True, True]
    )
    return ranked.drop_duplicates(["part", "kind", "factor"])


def _matrix(findings: list[Record]) -> list[dict[str, Any]]:
    """Findings by data bias (rows) and reliance (columns)."""
    reliance = {"CONFIRMED": "relied", "WAIVED": "relied", "CLEARED": "cleared"}
    known = [finding for finding in findings if finding.get("data_bias")]
    if not known:
        return []
    return [
        {
            "status": status,
            **{
                column: [
                    finding
                    for finding in known
                    if finding["data_bias"]["status"] == status
                    and reliance.get(str(finding["status"]), "open") == column
                ]
                for column in ("relied", "cleared", "open")
            },
        }
        for status in ("biased", "unbiased", "undecided")
    ]
