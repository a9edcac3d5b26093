"""The regions of a sample: one reader per encoding, and regions derived from others."""

from audit.data.regions import boxes, coco, codes, landmarks, masks  # registers each encoding
from audit.data.regions.base import ENCODINGS, Masks, RegionReader, Row
from audit.data.regions.derived import with_derived
from audit.data.regions.reader import region_reader

__all__ = [
    "ENCODINGS",
    "Masks",
    "RegionReader",
    "Row",
    "boxes",
    "coco",
    "codes",
    "landmarks",
    "masks",
    "region_reader",
    "with_derived",
]
