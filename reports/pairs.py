"""One picture, two models: their heat maps side by side, and the blind choice between the two.

The choice is the trust study of the Grad-CAM paper (Selvaraju et al. 2017, section 5.2): of two
models that answer alike, which one do its explanations make seem more reliable?
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from PIL import Image

from audit import tables
from audit.attribution import display
from audit.pictures import heat_overlay
from reports.pictures import data_uri, read_picture
from reports.run import Record, Run

PAIRS = 24
BUDGET = 2_000_000  # bytes of picture files
_COLUMNS = ["sample_id", "target_class", "height", "width", "map"]


def pairs(before: Run, after: Run, same: Sequence[str], budget: int = BUDGET) -> list[Record]:
    """Pictures that either run keeps, with the map of the class that each model predicted.

    Both maps are drawn here, from the grid maps of the runs, so that nothing but the model sets
    them apart.

    Parameters
    ----------
    before, after
        The runs.
    same
        Samples whose picture is the same in both.
    budget
        Bytes of the pictures and maps.

    Returns
    -------
    list of dict
        At most :data:`PAIRS`, as many as fit into ``budget`` bytes, the runs' choices in turn:
        ``sample_id``, ``label``, ``size``, ``original`` (data URI), and for ``before`` and
        ``after`` the ``prediction`` and the ``map`` (data URI).

    Raises
    ------
    RunError
        If a record names a file that is missing, is no picture, or lies elsewhere.
    """
    wanted = set(same)
    records = [(run, one) for run, one in _in_turn(before, after) if one["sample_id"] in wanted]
    chosen = {one["sample_id"] for _, one in records}
    maps = {key: _maps(run, chosen) for key, run in (("before", before), ("after", after))}
    found: dict[str, Record] = {}
    for run, one in records:
        name = one["sample_id"]
        if name in found or any(name not in own for own in maps.values()):
            continue
        original = read_picture(run.folder / "pictures", one["original"])
        drawn = {key: _drawn(own[name], one["size"]) for key, own in maps.items()}
        budget -= len(original) + sum(map(len, drawn.values()))
        if budget < 0 or len(found) == PAIRS:
            break
        found[name] = {
            "sample_id": name,
            "label": one["label"],
            "size": one["size"],
            "original": data_uri(one["original"], original),
            **{
                key: {
                    "prediction": str(own[name]["target_class"]),
                    "map": data_uri("map.webp", drawn[key]),
                }
                for key, own in maps.items()
            },
        }
    return list(found.values())


def trials(found: Sequence[Record], seed: int) -> list[dict[str, Any]]:
    """Pairs on which both models answer alike, in random order, with the run shown on the left."""
    alike = [
        index
        for index, pair in enumerate(found)
        if pair["before"]["prediction"] == pair["after"]["prediction"]
    ]
    chance = random.Random(seed)
    chance.shuffle(alike)
    return [{"pair": index, "left": chance.choice(("before", "after"))} for index in alike]


def _in_turn(before: Run, after: Run) -> Iterator[tuple[Run, Record]]:
    """The pictures of both runs, one of each in turn."""
    for one, other in zip_longest(before.pictures, after.pictures):
        yield from ((run, record) for run, record in ((before, one), (after, other)) if record)


def _maps(run: Run, names: set[str]) -> dict[str, Record]:
    """Grid maps of the predicted class by sample."""
    if not names:
        return {}
    path, where = run.folder / "maps.parquet", {"explained": "predicted"}
    rows = tables.read_table(path, tables.MAPS, _COLUMNS, where)
    chosen = rows[rows["sample_id"].isin(names)]
    return {row["sample_id"]: dict(row) for _, row in chosen.iterrows()}


def _drawn(row: Record, size: Sequence[int]) -> bytes:
    """A grid map as the WebP that is laid over a picture of this height and width."""
    grid = np.asarray(row["map"], dtype=np.float32).reshape(row["height"], row["width"])
    heat = display(torch.tensor(grid)[None], (size[0], size[1]))[0].numpy()
    file = io.BytesIO()
    Image.fromarray(heat_overlay(heat)).save(file, "webp", quality=82, method=4)
    return file.getvalue()
