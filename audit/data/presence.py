"""What a preview can tell of all rows, and of regions, before a run decodes every sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from audit.config import Audit, CodeMask, SeparateMasks
from audit.data.dataset import Dataset
from audit.data.files import Files, LocalFiles
from audit.data.images import read_codes, read_picture
from audit.data.reasons import Kind
from audit.errors import BadSample
from audit.tables import OK, QUARANTINED


def missing_files(config: Audit, dataset: Dataset) -> list[str]:
    """A warning for each part in which files are missing, over all rows.

    Says so where the run would stop for it. Nothing is opened. Of data behind a URL nothing is
    told: a question for each file would take as long as the run's own check.
    """
    if not isinstance(dataset.files, LocalFiles):
        return []
    lacking = _lacking(config, dataset)
    faulty = lacking | (dataset.samples["status"] == QUARANTINED).to_numpy()
    told = []
    for part in dataset.samples["part"].unique():
        rows = np.flatnonzero(dataset.samples["part"] == part)
        if not lacking[rows].any():
            continue
        first = dataset.samples["sample_id"].iat[rows[lacking[rows]][0]]
        bad, allowed = int(faulty[rows].sum()), config.data.max_bad_fraction
        told.append(
            f"{int(lacking[rows].sum()):,} of {len(rows):,} rows of the {part} part lack their "
            f"picture or mask, the first is '{first}'" + _stops(bad, len(rows), allowed)
        )
    return told


def _stops(bad: int, count: int, allowed: float) -> str:
    if bad <= allowed * count and bad < count:
        return ""
    return (
        f"; {bad:,} rows cannot be used, more than data.max_bad_fraction = {allowed:g} allows: "
        "the run would stop"
    )


def _lacking(config: Audit, dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Rows whose picture or mask is not there, as the readers see it."""
    files, rows = dataset.files, dataset.rows
    lacking = ~_there(files, rows[dataset.path_column])
    source = config.regions.source
    if isinstance(source, CodeMask):
        lacking |= ~_there(files, rows[source.column])
    if isinstance(source, SeparateMasks):
        named = [(rows[column] != "").to_numpy() for column in source.columns.values()]
        for column, given in zip(source.columns.values(), named, strict=True):
            lacking |= given & ~_there(files, rows[column])
        lacking |= ~np.any(named, axis=0)
    return lacking


def _there(files: Files, paths: pd.Series) -> npt.NDArray[np.bool_]:
    def found(path: str) -> bool:
        try:
            files.find(path, Kind.MISSING_IMAGE)
        except BadSample:
            return False
        return True

    return np.fromiter(map(found, paths), dtype=np.bool_, count=len(paths))


def absent_regions(
    config: Audit, few: Dataset, samples: pd.DataFrame, properties: pd.DataFrame
) -> list[str]:
    """A warning for each region, and each mask value of a region, that is in no sample tried.

    Parameters
    ----------
    config
        The audit.
    few, samples, properties
        Some samples, and what :func:`audit.data.dataset.check_dataset` says of them.
    """
    if properties.empty:
        return []
    seen = np.stack(properties["areas"].tolist()).sum(axis=0, dtype=np.float64).tolist()
    absent = [name for name, area in zip(few.regions, seen, strict=True) if not area]
    count = len(properties)
    told = [f"region '{name}' is in none of the {count} samples tried" for name in absent]
    source = config.regions.source
    if not isinstance(source, CodeMask):
        return [f"{text}; check regions.source" for text in told]
    found = _codes(few, samples, source.column)
    for name, value in source.values.items():
        lacks = sorted(set(value if isinstance(value, list) else [value]) - found)
        if lacks and name not in absent:
            told.append(
                f"value {', '.join(map(str, lacks))} of region '{name}' is in no mask of the "
                f"{count} samples tried"
            )
    there = ", ".join(map(str, sorted(found)[:20]))
    return [f"{text}; check regions.source.values, the masks hold {there}" for text in told]


def _codes(few: Dataset, samples: pd.DataFrame, column: str) -> set[int]:
    """All values in the masks of the usable samples."""
    found: set[int] = set()
    usable = few.rows[(samples["status"] == OK).to_numpy()]
    for picture, mask in zip(usable[few.path_column], usable[column], strict=True):
        path = few.files.find(picture, Kind.MISSING_IMAGE)
        frame = read_picture(path, max_pixels=few.max_pixels)[1]
        codes = read_codes(few.files.find(mask, Kind.MISSING_MASK), frame)
        found |= set(np.unique(codes).tolist())
    return found
