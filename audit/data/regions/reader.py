"""All regions of a sample, in the order of the configuration."""

from __future__ import annotations

from functools import partial

from audit.config import Regions
from audit.data.images import Frame
from audit.data.regions.base import ENCODINGS, Masks, RegionReader, Row
from audit.data.regions.derived import with_derived
from audit.data.sources.base import Manifest


def region_reader(config: Regions, manifest: Manifest) -> RegionReader:
    """The reader that the configuration asks for: annotated regions, then derived ones.

    Raises
    ------
    DataError
        If the manifest lacks what the encoding needs.
    """
    annotated = ENCODINGS[config.source.encoding](config.source, manifest)
    return partial(_read, annotated=annotated, config=config)


def _read(row: Row, frame: Frame, *, annotated: RegionReader, config: Regions) -> Masks:
    return with_derived(annotated(row, frame), config)
