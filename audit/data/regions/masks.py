"""One mask per sample and region; non-zero is inside."""

from __future__ import annotations

from functools import partial

import numpy as np

from audit.config import SeparateMasks
from audit.data.files import Files
from audit.data.images import Frame, read_codes
from audit.data.reasons import Kind, bad
from audit.data.regions.base import Masks, RegionReader, Row, encoding
from audit.data.sources.base import Manifest


@encoding("masks")
def reader(config: SeparateMasks, manifest: Manifest) -> RegionReader:
    """Reader of separate masks.

    No path means that the sample lacks the region; a sample without any path is not annotated
    (``missing mask``).
    """
    columns = list(config.columns.values())
    manifest.require(columns, "regions.source.columns")
    return partial(_read, columns=columns, files=manifest.files)


def _read(row: Row, frame: Frame, *, columns: list[str], files: Files) -> Masks:
    paths = [row[column] for column in columns]
    if not any(paths):
        raise bad(Kind.MISSING_MASK, f"no path in {', '.join(columns)}")
    return np.stack([_mask(path, frame, files) for path in paths])


def _mask(path: str, frame: Frame, files: Files) -> Masks:
    if not path:
        return np.zeros(frame.size, dtype=np.bool_)
    inside: Masks = read_codes(files.find(path, Kind.MISSING_MASK), frame) != 0
    return inside
