"""A commented starting configuration, from what a data folder holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from audit.errors import DataError

OPEN = "NAME"  # marks what only the user knows
MASKS = "masks"
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
GUESSES = {
    "sample_id": ("sample_id", "id", "image_id", "name"),
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "class", "target", "category", "diagnosis"),
    "cluster_id": ("cluster_id", "patient", "patient_id", "subject", "subject_id", "identity"),
}
SPLITS = ("split", "partition", "fold", "subset", "set")
FEW = 12  # more distinct values than this make no subgroups
STEPS = 900  # that the small CNN needs to learn a task from nothing, about
BATCH = 64


@dataclass(frozen=True)
class Start:
    """A starting configuration, and the places in it that only the user can fill."""

    text: str
    open_places: list[str]


def starting_config(folder: Path, config_folder: Path) -> Start:
    """YAML text that describes the data of a folder as far as it can be guessed.

    Parameters
    ----------
    folder
        Holds ``manifest.csv`` or ``manifest.parquet``, or class folders with pictures.
    config_folder
        Where the configuration will lie; paths are relative to it.

    Raises
    ------
    DataError
        If the folder holds neither.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    root = os.path.relpath(folder.resolve(), config_folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")[:64] or "audit"
    tables = sorted(p for p in folder.iterdir() if p.suffix in {".csv", ".parquet"})
    if tables:
        body = _from_manifest(tables[0], root)
    else:
        pictures = [p.relative_to(folder) for p in folder.rglob("*") if _is_picture(p)]
        pictures = [p for p in pictures if p.parts[0] != MASKS]
        if not pictures:
            raise DataError(
                f"{folder}: neither a manifest (.csv, .parquet) nor folders of pictures"
            )
        body = _from_folders(root, pictures, masked=(folder / MASKS).is_dir())
    text = _HEAD.format(name=_text(name)) + body
    return Start(text, _open_places(text))


def _open_places(text: str) -> list[str]:
    return [line.split("#")[0].strip() for line in text.splitlines() if OPEN in line.split("#")[0]]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def _from_manifest(path: Path, root: str) -> str:
    try:
        table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as a table ({error})") from error
    columns = {key: _first(table, names) for key, names in GUESSES.items()}
    split = _first(table, SPLITS)
    used = {column for column in columns.values() if column} | {split, "mask"}
    attributes = [str(c) for c in table if c not in used and 1 < table[c].nunique() <= FEW]
    labels = sorted(table[columns["label"]].dropna().unique()) if columns["label"] else []
    lines = [
        "data:",
        f"  root: {_text(root)}  # nothing outside it is read",
        f"  manifest: {_text(path.name)}",
        "  columns:  # the manifest's columns",
        *(
            f"    {key}: {_text(column or f'{OPEN}-THE-COLUMN')}"
            for key, column in columns.items()
            if column or key != "cluster_id"
        ),
        *([] if columns["cluster_id"] else [_CLUSTER]),
        f"  attributes: {_flow(attributes)}  # subgroups to compare",
        f"  classes: {_flow([str(label) for label in labels])}",
        *_split_lines(split, [] if split is None else table[split].dropna().astype(str)),
        _regions("mask" if "mask" in table else None, len(table)),
    ]
    return "\n".join(lines)


def _split_lines(column: str | None, values: Iterable[str]) -> list[str]:
    """Which rows are for training and which are audited, by the usual names of splits."""
    names = list(dict.fromkeys(values))
    if column is None or not names:
        return [
            f"  train: {{{OPEN}-A-COLUMN: VALUE}}  # the training rows; none may be audited too",
            f"  audit: {{{OPEN}-A-COLUMN: VALUE}}  # the audited rows",
        ]
    train = _usual(names, ("train", "training"), names[0])
    audited = _usual(names, ("test", "testing", "audit", "val", "valid", "validation"), names[-1])
    return [
        f"  {part}: {_flow({column: value})}"
        for part, value in (("train", train), ("audit", audited))
    ]


def _usual(names: list[str], usual: tuple[str, ...], otherwise: str) -> str:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in usual if name in lower), otherwise)


def _from_folders(root: str, pictures: list[Path], *, masked: bool) -> str:
    lines = ["data:", "  source: folder", f"  root: {_text(root)}  # nothing outside it is read"]
    if any(len(path.parts) > 2 for path in pictures):
        lines += _split_lines("split", sorted({path.parts[0] for path in pictures}))
    else:
        lines += ["  # one set of pictures: name a checkpoint below; nothing is trained"]
    return "\n".join([*lines, _regions("mask" if masked else None, len(pictures))])


def _regions(column: str | None, rows: int) -> str:
    epochs = min(60, max(12, round(STEPS * BATCH / max(rows, 1))))
    return _REGIONS.format(column=column or f"{OPEN}-THE-MASK-COLUMN", epochs=epochs)


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((str(c) for n in names for c in table if str(c).lower() == n), None)


def _text(value: str) -> str:
    """A YAML scalar on one line."""
    dumped: str = yaml.safe_dump(value, allow_unicode=True, width=10**6)
    return dumped.removesuffix("...\n").strip()


def _flow(values: list[str] | dict[str, str]) -> str:
    dumped: str = yaml.safe_dump(values, default_flow_style=True, allow_unicode=True, width=10**6)
    return dumped.strip()


_CLUSTER = "    # cluster_id: PERSON  # what was sampled independently; default: every row"

_HEAD = """\
# An audit of an image classifier. `cuecheck validate` checks it; `cuecheck schema` lists all keys.
name: {name}
description: ""
seed: 0

"""

_REGIONS = """
regions:
  source:  # encodings: codes | masks | boxes | coco | landmarks
    encoding: codes  # one PNG per sample; its pixel values name regions
    column: {column}
    values: {{object: 1, background: 0}}  # region: value(s)
  roles:
    core: [object]  # what the class is about
    forbidden: [background]  # a decision must not rest on it

model:
  architecture: small-cnn  # or a torchvision name, or your.module:factory
  # checkpoint: weights.safetensors  # audit a model trained elsewhere; then nothing is trained
  input: {{size: [112, 112]}}
  train: {{epochs: {epochs}}}  # more, if it does not learn; the report shows the curve

interventions:
  fills: [blur, local-mean]
  # swap: {{attribute: WHICH, match: [COLUMNS]}}  # the strongest test, where pictures match

policy:  # defaults, explained in the README
  min_clusters: 30
  fail_effect: 0.05
  pass_effect: 0.10
"""
