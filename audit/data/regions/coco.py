"""A COCO annotation file: boxes, polygons, run lengths."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as rle

from audit.config import Coco
from audit.data.images import Frame
from audit.data.reasons import Kind, bad
from audit.data.regions.base import Masks, RegionReader, Row, encoding
from audit.data.regions.boxes import box_mask
from audit.data.sources.base import Manifest
from audit.errors import DataError
from audit.geometry import Size

Annotation = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """One picture of the file: its size, if given, and its annotations by region."""

    size: Size | None
    regions: tuple[tuple[Annotation, ...], ...]


@encoding("coco")
def reader(config: Coco, manifest: Manifest) -> RegionReader:
    """Reader of a COCO file; pictures match by the manifest's path, or by its last part alone."""
    path = manifest.files.table(config.file, "regions.source.file")
    shown = manifest.files.shown(config.file)
    column = manifest.data.columns.path
    manifest.require([column], "data.columns.path")
    pictures = _by_path(list(manifest.rows[column].unique()), _pictures(path, shown, config))
    return partial(_read, column=column, pictures=pictures)


def _read(row: Row, frame: Frame, *, column: str, pictures: Mapping[str, Picture]) -> Masks:
    found = pictures.get(row[column])
    if found is None:
        raise bad(Kind.MISSING_ANNOTATION, f"no picture '{row[column]}' in the COCO file")
    size = found.size or frame.size
    if size not in (frame.size, frame.stored):
        raise frame.wrong_size(size)
    return np.stack([frame.upright(_union(region, size)) for region in found.regions])


def _union(annotations: tuple[Annotation, ...], size: Size) -> Masks:
    union = np.zeros(size, dtype=np.bool_)
    for annotation in annotations:
        union |= _mask(annotation, size)
    return union


def _mask(annotation: Annotation, size: Size) -> Masks:
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return _run_lengths(segmentation, size)
        if segmentation:
            return _polygons(segmentation, size)
        left, top, width, height = map(float, annotation["bbox"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        identity = annotation.get("id")
        raise bad(Kind.BAD_ANNOTATION, f"annotation {identity}: {error}") from error
    return box_mask(left, top, left + width, top + height, size)


def _run_lengths(segmentation: Annotation, size: Size) -> Masks:
    """Runs of outside and inside in turn, down the columns."""
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"run lengths of size {segmentation['size']}, the picture has {size}")
    counts = segmentation["counts"]
    runs = np.asarray(counts if isinstance(counts, list) else _uncompressed(str(counts)))
    pixels = size[0] * size[1]
    # Each is checked as well, since the sum of very long ones overflows.
    odd = runs.dtype.kind != "i" or ((runs < 0) | (runs > pixels)).any()
    if odd or runs.sum() != pixels:
        raise ValueError("run lengths do not add up to the picture")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(size, order="F")


def _uncompressed(text: str) -> list[int]:
    """Run lengths out of COCO's text: 5 bits a character, low ones first, the top one a sign.

    From the fourth on, a run is the difference to the one before the last. Decoded here since
    pycocotools trusts the text: from a damaged one it reads and writes beyond its memory.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError("run lengths are damaged")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:  # more follows
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _polygons(polygons: list[Any], size: Size) -> Masks:
    for polygon in polygons:
        points = np.asarray(polygon, dtype=np.float64)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2:
            raise ValueError("a polygon needs x and y of at least 3 points")
        # The rasteriser walks along every edge, however far it leads.
        if not (np.abs(points) <= 4 * max(size)).all():
            raise ValueError("a polygon leads far out of the picture")
    merged = rle.merge(rle.frPyObjects(polygons, *size))
    decoded: Masks = rle.decode(merged).astype(np.bool_)
    return decoded


def _by_path(paths: list[str], pictures: Mapping[str, Picture]) -> dict[str, Picture]:
    """Pictures by the manifest's path. A last part that two paths share identifies neither."""
    names = Counter(PurePosixPath(path).name for path in paths)
    matched = {}
    for path in paths:
        name = PurePosixPath(path).name
        found = pictures.get(path) or (pictures.get(name) if names[name] == 1 else None)
        if found is not None:
            matched[path] = found
    return matched


def _pictures(path: Path, shown: str, config: Coco) -> dict[str, Picture]:
    content = _loaded(path, shown)
    try:
        wanted = _categories(content["categories"], config, shown)
        regions: dict[Any, list[list[Annotation]]] = defaultdict(lambda: [[] for _ in wanted])
        for annotation in content["annotations"]:
            for region, identities in enumerate(wanted):
                if annotation["category_id"] in identities:
                    regions[annotation["image_id"]][region].append(annotation)
        names = Counter(image["file_name"] for image in content["images"])
        return {
            image["file_name"]: Picture(_size(image), tuple(map(tuple, regions[image["id"]])))
            for image in content["images"]
            if names[image["file_name"]] == 1
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{shown}: not in COCO format ({error!r})") from error


def _loaded(path: Path, shown: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"regions.source.file: cannot read {shown} ({error})") from error


def _categories(found: list[Annotation], config: Coco, shown: str) -> list[set[Any]]:
    """Category ids of each region."""
    known = {str(category["name"]) for category in found}
    wanted = [[v] if isinstance(v, str) else v for v in config.categories.values()]
    unknown = {name for names in wanted for name in names} - known
    if unknown:
        listed, there = ", ".join(sorted(unknown)), ", ".join(sorted(known))
        raise DataError(f"{shown}: no category {listed}; there are: {there}")
    return [{c["id"] for c in found if str(c["name"]) in names} for names in wanted]


def _size(image: Annotation) -> Size | None:
    if "height" not in image or "width" not in image:
        return None
    return int(image["height"]), int(image["width"])
