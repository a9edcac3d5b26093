"""What a region encoding gives, and the registry of encodings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.data.images import Frame
from audit.data.sources.base import Manifest

Masks = npt.NDArray[np.bool_]
Row = Mapping[str, str]

# Masks [R, H, W] of a row of the manifest, in the upright frame of its picture. Raises BadSample
# if the annotation of this sample cannot be used.
RegionReader = Callable[[Row, Frame], Masks]

# Called once, with its section of the configuration and the manifest. Raises DataError where the
# manifest lacks what it needs.
Encoding = Callable[[Any, Manifest], RegionReader]

ENCODINGS: dict[str, Encoding] = {}


def encoding(name: str) -> Callable[[Encoding], Encoding]:
    """Register a region encoding under its name in the configuration."""

    def register(reader: Encoding) -> Encoding:
        ENCODINGS[name] = reader
        return reader

    return register
