"""One mask per sample whose pixel values name regions."""

from __future__ import annotations

from functools import partial

import numpy as np

from audit.config import CodeMask
from audit.data.files import Files
from audit.data.images import Frame, read_codes
from audit.data.reasons import Kind
from audit.data.regions.base import Masks, RegionReader, Row, encoding
from audit.data.sources.base import Manifest


@encoding("codes")
def reader(config: CodeMask, manifest: Manifest) -> RegionReader:
    """Reader of code masks; a pixel whose value names no region is in none."""
    manifest.require([config.column], "regions.source.column")
    values = [v if isinstance(v, list) else [v] for v in config.values.values()]
    return partial(_read, column=config.column, values=values, files=manifest.files)


def _read(row: Row, frame: Frame, *, column: str, values: list[list[int]], files: Files) -> Masks:
    codes = read_codes(files.find(row[column], Kind.MISSING_MASK), frame)
    if codes.dtype == np.uint8:  # looked up: several times faster than searched for
        return np.stack([np.isin(np.arange(256), inside)[codes] for inside in values])
    return np.stack([np.isin(codes, inside) for inside in values])
