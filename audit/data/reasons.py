"""Why a sample is quarantined: a small, fixed set of kinds."""

from __future__ import annotations

from enum import StrEnum

from audit.errors import BadSample


class Kind(StrEnum):
    """Kinds of bad samples. A reason reads ``"<kind>: <detail>"``."""

    MISSING_ID = "missing id"
    DUPLICATE_ID = "duplicate id"
    MISSING_LABEL = "missing label"
    UNKNOWN_LABEL = "unknown label"
    MISSING_CLUSTER = "missing cluster"
    OUTSIDE_ROOT = "outside the data root"
    MISSING_IMAGE = "missing image"
    EMPTY_IMAGE = "empty image"
    UNREADABLE_IMAGE = "unreadable image"
    TRUNCATED_IMAGE = "truncated image"
    TOO_MANY_PIXELS = "too many pixels"
    PIXEL_VALUES = "pixel values"
    MISSING_MASK = "missing mask"
    UNREADABLE_MASK = "unreadable mask"
    MASK_SIZE = "mask size"
    MASK_COLOURS = "mask colours"
    BAD_BOX = "bad box"
    BAD_LANDMARK = "bad landmark"
    MISSING_ANNOTATION = "missing annotation"
    BAD_ANNOTATION = "bad annotation"


_LONGEST_DETAIL = 200


def reason(kind: Kind, detail: str) -> str:
    """The text of a reason, on one line whatever the detail holds."""
    return f"{kind}: {' '.join(detail.split())[:_LONGEST_DETAIL]}"


def bad(kind: Kind, detail: str) -> BadSample:
    """The error to raise for a sample that cannot be used."""
    return BadSample(reason(kind, detail))


def kind_of(text: str) -> str:
    """Kind of a reason.

    Examples
    --------
    >>> kind_of("mask size: 4 x 4, the picture has 8 x 8")
    'mask size'
    """
    return text.partition(":")[0]
