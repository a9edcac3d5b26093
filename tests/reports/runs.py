"""Sealed runs with pictures and maps, made without a model, for the pages beside the report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from audit.runs.files import read_json, write_json
from audit.runs.folder import Run
from audit.runs.record import seal
from tests.gate.runs import write_run
from tests.reports.factory import HOSTILE

GRID = 4
SIZE = 32
_RENAMED = (
    *("label", "prediction", "prediction_before", "prediction_after", "target_class"),
    "attribute:gender",
)
PROPERTIES: dict[str, Any] = {
    "width": SIZE, "height": SIZE, "brightness": 0.5, "contrast": 0.1, "sharpness": 9.0,
    "border": 0.0,
}  # fmt: skip


def sealed_run(
    folder: Path,
    *,
    peak: tuple[int, int] = (0, 0),
    day: int = 1,
    pictures: tuple[str, ...] = ("s00000", "s00050", "s00051", "s00052"),
    shade: int = 90,
    hostile: bool = False,
    wrong: int = 0,
    weights: str = "aa" * 32,
    **changes: Any,
) -> Run:
    """A finished run whose every map peaks in one cell of the grid.

    Parameters
    ----------
    peak
        Row and column of the cell.
    day
        Of January 2026, on which it was started.
    pictures
        Samples that it keeps pictures of.
    shade
        Grey value of the pictures.
    hostile
        Whether classes and subgroups have hostile names.
    wrong
        How many more of the first samples it answers wrongly.
    weights
        Hash of its model.
    changes
        As in :func:`write_run`.
    """

    def spoil(tables: dict[str, pd.DataFrame]) -> None:
        if wrong:
            _answer_wrongly(tables, wrong)
        samples = tables["samples"]
        tables["maps"] = _maps(samples, peak)
        hashes = np.arange(len(samples), dtype=np.uint64) + np.uint64(shade)
        tables["properties"] = pd.DataFrame(
            {"sample_id": samples["sample_id"], **PROPERTIES, "phash": hashes}
        ).assign(areas=[[0.1, 0.1, 0.1]] * len(samples))
        if hostile:
            _rename(tables)

    run = write_run(folder, spoil=spoil, **changes)
    started = datetime(2026, 1, day, 3, tzinfo=UTC).isoformat()
    write_json(run.identity, read_json(run.identity) | {"started": started})
    hashes = {"data": "dd" * 32, "weights": weights}
    write_json(run.provenance, {"cuecheck": "0.1.0", "started": started, "sha256": hashes})
    _write_pictures(run, pictures, shade)
    seal(run)
    return run


def _answer_wrongly(tables: dict[str, pd.DataFrame], count: int) -> None:
    samples = tables["samples"].astype({"label": object, "prediction": object})
    first = samples.index < count
    other = np.where(samples["label"] == "doctor", "nurse", "doctor")
    samples["prediction"] = np.where(first, other, samples["prediction"])
    tables["samples"] = samples


def _maps(samples: pd.DataFrame, peak: tuple[int, int]) -> pd.DataFrame:
    grid = np.zeros((GRID, GRID), dtype=np.float32)
    grid[peak] = 2.0
    return pd.DataFrame(
        {
            "sample_id": samples["sample_id"],
            "explained": "predicted",
            "target_class": samples["prediction"].astype(str),
            "height": GRID,
            "width": GRID,
        }
    ).assign(map=[grid.ravel()] * len(samples), masks=[[]] * len(samples))


def _rename(tables: dict[str, pd.DataFrame]) -> None:
    new = dict(zip(("doctor", "nurse", "man", "woman"), HOSTILE, strict=True))
    for name, frame in tables.items():
        shown = [column for column in _RENAMED if column in frame]
        tables[name] = frame.assign(
            **{column: frame[column].astype(object).replace(new) for column in shown}
        )


def _write_pictures(run: Run, names: tuple[str, ...], shade: int) -> None:
    run.pictures.mkdir()
    samples = pd.read_parquet(run.table("samples")).set_index("sample_id")
    records = []
    for name in names:
        file = f"{name}-original.webp"
        Image.new("RGB", (SIZE, SIZE), (shade,) * 3).save(run.pictures / file)
        row = samples.loc[name]
        records.append(
            {
                "sample_id": name,
                "label": row["label"],
                "prediction": row["prediction"],
                "size": [SIZE, SIZE],
                "original": file,
            }
        )
    write_json(run.pictures / "pictures.json", {"pictures": records})
