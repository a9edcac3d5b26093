"""The demo data set: which scenes there are, and writing them to a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from audit.atomic import replacing_folder
from audit.config import Scenes
from audit.data.scenes.canvas import Code
from audit.data.scenes.hair import LONG, SHORT
from audit.data.scenes.painter import Scene, paint
from audit.data.scenes.people import SKIN
from audit.data.scenes.places import PLACES
from audit.data.scenes.tools import TOOLS
from audit.errors import DataError

REGION_CODES = {code.name.lower(): int(code) for code in Code}
CLASSES = ("doctor", "nurse")
GENDERS = ("man", "woman")
SKIN_TONES = tuple(SKIN)
SPLITS = ("train", "test")
USUAL_HAIR = 0.94  # part of the men with short hair, and of the women with long hair

# Long hair that shows is more frequent than hair that is tied back.
_FREQUENCY = {SHORT: (0.25, 0.25, 0.25, 0.25), LONG: (0.27, 0.27, 0.22, 0.14, 0.10)}

_STAMP = "scenes.json"
_VERSION = 2  # raise it when the drawings change, so that old folders are not taken for new ones
_CHUNK = 16

Rows = list[dict[Any, Any]]


def plan(config: Scenes) -> pd.DataFrame:
    """The manifest: one row for each picture, in the order of drawing.

    In ``train`` half of the pictures are doctors, and the part of men among them (of women among
    nurses) is met exactly. In ``test`` class x gender x skin tone is balanced. Within class and
    gender, tools and skin tones take turns, so neither tells the gender.

    Returns
    -------
    pandas.DataFrame
        Text columns ``sample_id, path, mask, split, label, gender, skin_tone, tool, hair_style,
        background, cluster_id``. Every person appears once, so a cluster is a sample.

    Examples
    --------
    >>> plan(Scenes(train=100, audit=20)).groupby(["split", "label", "gender"]).size()["train"]
    label   gender
    doctor  man       39
            woman     11
    nurse   man        4
            woman     46
    dtype: int64
    """
    rows = [
        {**_paths(split, index), **vars(scene)}
        for split, cells in zip(SPLITS, (_train_cells(config), _test_cells(config)), strict=True)
        for index, scene in enumerate(_scenes(config, split, cells))
    ]
    table = pd.DataFrame(rows)
    order = ["sample_id", "path", "mask", "split", *Scene.__dataclass_fields__, "cluster_id"]
    return table[order]


def _paths(split: str, index: int) -> dict[str, str]:
    name = f"{split}-{index:05d}"
    return {
        "sample_id": name,
        "path": f"images/{name}.png",
        "mask": f"masks/{name}.png",
        "split": split,
        "cluster_id": name,
    }


def _train_cells(config: Scenes) -> list[tuple[str, str, str]]:
    """(class, gender, skin tone) of the training pictures."""
    doctors = config.train // 2
    nurses = config.train - doctors
    men = round(doctors * config.men_among_doctors)
    women = round(nurses * config.women_among_nurses)
    groups = [
        ("doctor", "man", men),
        ("doctor", "woman", doctors - men),
        ("nurse", "man", nurses - women),
        ("nurse", "woman", women),
    ]
    return [
        (label, gender, SKIN_TONES[index % len(SKIN_TONES)])
        for label, gender, count in groups
        for index in range(count)
    ]


def _test_cells(config: Scenes) -> list[tuple[str, str, str]]:
    cells = list(product(SKIN_TONES, GENDERS, CLASSES))
    turns = (cells[index % len(cells)] for index in range(config.audit))
    return [(label, gender, tone) for tone, gender, label in turns]


def _scenes(config: Scenes, split: str, cells: list[tuple[str, str, str]]) -> Iterator[Scene]:
    turn: dict[tuple[str, str, str], int] = {}
    for index, cell in enumerate(cells):
        label, gender, tone = cell
        rng = _generator(config.seed, split, index, stream=0)
        tools = list(TOOLS[label])
        turn[cell] = turn.get(cell, -1) + 1
        usual, rare = (SHORT, LONG) if gender == "man" else (LONG, SHORT)
        styles = usual if rng.random() < USUAL_HAIR else rare
        yield Scene(
            label=label,
            gender=gender,
            skin_tone=tone,
            tool=tools[(turn[cell] + SKIN_TONES.index(tone)) % len(tools)],
            hair_style=str(rng.choice(styles, p=_FREQUENCY[styles])),
            background=str(rng.choice(list(PLACES))),
        )


def _generator(seed: int, split: str, index: int, *, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, SPLITS.index(split), index, stream])


def generate(
    folder: Path,
    config: Scenes,
    *,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw the demo data set into a folder; a folder that is already there is kept.

    Parameters
    ----------
    folder
        Where ``images/``, ``masks/`` and ``manifest.csv`` go. It appears whole or not at all.
    config
        Seed, number and size of the pictures, strength of the confound.
    workers
        Processes; the bytes do not depend on it.
    progress
        Called with the number of pictures done.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    DataError
        If the folder exists and holds something else.
    """
    stamp = {"version": _VERSION, **config.model_dump()}
    if _is_complete(folder, stamp):
        return folder
    table = plan(config)
    rows = table.to_dict("records")
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    # Another process may be faster.
    with replacing_folder(folder, keep=lambda there: _is_complete(there, stamp)) as draft:
        for part in ("images", "masks"):
            (draft / part).mkdir()
        done = 0
        for count in _mapped(partial(_draw, draft, config), chunks, workers):
            done += count
            if progress:
                progress(done)
        table.to_csv(draft / "manifest.csv", index=False)
        (draft / _STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    return folder


def _is_complete(folder: Path, stamp: dict[str, object]) -> bool:
    """Whether the folder holds just these scenes; an empty or missing folder does not."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != stamp:
        raise DataError(f"{folder}: holds something else than these scenes; name another folder")
    return True


def _mapped(draw: Callable[[Rows], int], chunks: list[Rows], workers: int) -> Iterator[int]:
    if workers <= 1 or len(chunks) == 1:
        yield from map(draw, chunks)
        return
    # Spawned, not forked: the caller may hold threads (training, Prefect).
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, chunks)


def _draw(folder: Path, config: Scenes, rows: Rows) -> int:
    for row in rows:
        scene = Scene(**{name: row[name] for name in Scene.__dataclass_fields__})
        split, index = row["sample_id"].split("-")
        rng = _generator(config.seed, split, int(index), stream=1)
        picture, mask = paint(scene, rng, config.size)
        Image.fromarray(picture).save(folder / row["path"], compress_level=1)
        Image.fromarray(mask).save(folder / row["mask"], compress_level=6)
    return len(rows)
