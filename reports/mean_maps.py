"""Mean heat maps per class and subgroup: of the whole picture, and aligned by a region's box."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audit import tables
from audit.attention.averages import Codes, Flags, Floats
from audit.attention.measure import MEASURABLE_CELLS
from audit.pictures import HEAT
from reports.averaging import Cells, Frame, Outlines, batches
from reports.figures import style
from reports.run import Run, by_level, subgroups_of

CLASSES = 48  # classes that the page holds; the rest stay in the run folder
LEVELS = 12  # subgroups per attribute, the largest
REGIONS = 6  # regions to align on
BUDGET = 600_000  # bytes of encoded maps
_MISSING = 255
_ROUNDING = 1e-2  # of a region's size in cells: masks are kept in half precision
_ROLES = ("forbidden", "core", "allowed")


def mean_maps(run: Run) -> dict[str, Any] | None:
    """Mean maps for the page; none where no map was kept."""
    path = run.folder / f"{tables.MAPS.name}.parquet"
    if not path.is_file() or run.audited.empty:
        return None
    gaps = _gaps(run)
    cells = cells_of(run, gaps)
    live, shown, area = _facts(run, path)
    if not live.any():
        return None
    aligned = list(_aligned(run, cells, live, shown, area))
    frames = [Frame(None, None, live, cells.weights(live)), *aligned[:REGIONS]]
    marked = [(one.region, one.index) for one in frames if one.region and one.index is not None]
    outlines = Outlines(marked, cells.weights(live)[: len(cells.classes)])
    for batch in batches(run, path):
        outlines.add(batch)
        for frame in frames:
            frame.add(batch)
    drawn = _within_budget([_encoded(run, cells, frame, live) for frame in frames])
    return {
        "least": run.config.policy.min_clusters,
        "classes_left_out": len(run.classes) - len(cells.classes),
        "levels": LEVELS,
        "regions_left_out": 1 + len(aligned) - len(drawn),
        "maps": {
            "classes": cells.classes,
            "gaps": [gaps.get(name) for name in cells.classes],
            "attributes": [
                {"name": name, "levels": levels} for name, levels in cells.subgroups.items()
            ],
            "least": run.config.policy.min_clusters,
            "heat": HEAT.astype(int).tolist(),
            "below": style.LIGHT["below"],
            "above": style.LIGHT["above"],
            "frames": drawn,
            "outlines": _outlined(outlines),
        },
    }


def cells_of(run: Run, gaps: dict[str, float]) -> Cells:
    """The cells to show: classes with the widest accuracy gap first, then the largest."""
    audited = run.audited
    labels = audited["label"].astype(str)
    size = labels.value_counts()
    ranked = sorted(run.classes, key=lambda name: (-gaps.get(name, 0), -size[name], name))
    classes = ranked[:CLASSES]
    number = {name: i for i, name in enumerate(classes)}
    of_class: Codes = np.asarray(labels.map(number).fillna(-1), dtype=np.int64)
    subgroups = {"": ["all"]}
    codes: list[Codes] = [of_class]
    first = len(classes)
    for attribute in run.attributes:
        values = subgroups_of(audited, attribute)
        levels = by_level(values.value_counts().index[:LEVELS])
        places = {value: i for i, value in enumerate(levels)}
        of_level = np.asarray(values.map(places).fillna(-1), dtype=np.int64)
        inside = (of_class >= 0) & (of_level >= 0)
        codes.append(np.where(inside, first + of_class * len(levels) + of_level, -1))
        subgroups[attribute] = levels
        first += len(classes) * len(levels)
    clusters = pd.factorize(audited["cluster_id"])[0].astype(np.int64)
    return Cells(classes, subgroups, codes, clusters)


def _gaps(run: Run) -> dict[str, float]:
    """By class, the widest difference of accuracy between large subgroups of one attribute."""
    widest: dict[str, float] = {}
    for attribute in run.attributes:
        rows = run.cells("accuracy", attribute)
        effects = rows[~run.is_small(rows)].groupby("target_class")["effect"]
        gaps = (effects.max() - effects.min())[effects.size() > 1]
        for label, gap in zip(gaps.index, gaps, strict=True):
            widest[str(label)] = max(float(gap), widest.get(str(label), 0.0))
    return widest


def _facts(run: Run, path: Path) -> tuple[Flags, Flags, Floats]:
    """Which maps ``[n]`` have positive mass, which show a region ``[n, regions]``, how large."""
    live = np.zeros(len(run.audited), bool)
    sizes = np.zeros((len(live), len(run.config.regions.names)))
    cells = 1
    for batch in batches(run, path):
        live[batch.at] = (batch.maps > 0).any((1, 2))
        sizes[batch.at] = batch.masks.sum((2, 3), dtype=np.float64)
        cells = batch.maps[0].size
    shown = sizes >= MEASURABLE_CELLS - _ROUNDING
    area = (sizes * shown).sum(0) / np.maximum(shown.sum(0), 1) / cells
    return live, shown, area


def _aligned(run: Run, cells: Cells, live: Flags, shown: Flags, area: Floats) -> Iterator[Frame]:
    """Frames of the regions that enough clusters of a cell show and that leave room around them."""
    names = run.config.regions.names
    roles = [_ROLES.index(_gravest_role(run, name)) for name in names]
    for index in np.argsort(roles, kind="stable").tolist():
        usable = live & shown[:, index]
        frame = Frame(names[index], index, usable, cells.weights(usable))
        if area[index] < 0.5 and (frame.clusters >= run.config.policy.min_clusters).any():
            yield frame


def _gravest_role(run: Run, region: str) -> str:
    roles = {run.config.regions.role(region, label) for label in run.classes}
    return next(role for role in _ROLES if role in roles)


def _encoded(run: Run, cells: Cells, frame: Frame, live: Flags) -> dict[str, Any]:
    """A frame for the page: per attribute, class and level the counts and the mean map."""
    means, clusters = frame.means(), frame.clusters
    large = clusters >= run.config.policy.min_clusters
    peak = (float(np.nanmax(means[large])) if large.any() else 0.0) or 1.0
    counts, dead = cells.count(frame.usable), cells.count(~live)
    absent = cells.count(live & ~frame.usable)

    def cell(at: int) -> list[Any] | None:
        if not counts[at] + dead[at] + absent[at]:
            return None
        drawn = _bytes(means[at], peak) if large[at] else None
        return [int(one[at]) for one in (counts, clusters, dead, absent)] + [drawn]

    return {
        "region": frame.region,
        "size": list(frame.size),
        "peak": peak,
        "cells": [
            [
                [cell(first + i * len(levels) + k) for k in range(len(levels))]
                for i in range(len(cells.classes))
            ]
            for first, levels in zip(cells.offsets, cells.subgroups.values(), strict=False)
        ],
    }


def _bytes(values: Floats, peak: float) -> str:
    """A byte per place, as base64: the square root, so that small values keep their digits.

    254 stands for ``peak``, 255 for a place without a value.
    """
    scaled = np.nan_to_num(np.sqrt(values / peak) * (_MISSING - 1), nan=_MISSING).round()
    return base64.b64encode(scaled.astype(np.uint8).tobytes()).decode("ascii")


def _outlined(outlines: Outlines) -> list[dict[str, Any]]:
    """Per region and class the mean coverage, relative to where it is largest."""
    if not outlines.regions:
        return []
    return [
        {"region": name, "maps": [_bytes(one, one.max()) if one.any() else None for one in own]}
        for (name, _), own in zip(
            outlines.regions, outlines.by_region().swapaxes(0, 1), strict=True
        )
    ]


def _within_budget(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first frames that fit into the budget, the picture's at least."""
    sizes = [
        sum(
            len(cell[-1] or "") for table in frame["cells"] for row in table for cell in row if cell
        )
        for frame in frames
    ]
    return frames[: max(1, int((np.cumsum(sizes) <= BUDGET).sum()))]
