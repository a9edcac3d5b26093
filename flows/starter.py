"""A commented starting configuration, from what a data folder holds."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import yaml

from audit.errors import DataError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
GUESSES = {
    "sample_id": ("sample_id", "id", "image_id", "name"),
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "class", "target", "category", "diagnosis"),
    "cluster_id": ("cluster_id", "patient", "patient_id", "subject", "subject_id", "identity"),
}
FEW = 12  # more distinct values than this make no subgroups


def starting_config(folder: Path, config_folder: Path) -> str:
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
        return _HEAD.format(name=_text(name)) + _from_manifest(tables[0], root)
    pictures = [p for p in folder.rglob("*") if p.suffix.lower() in PICTURES]
    if not pictures:
        raise DataError(f"{folder}: neither a manifest (.csv, .parquet) nor folders of pictures")
    split = any(len(p.relative_to(folder).parts) > 2 for p in pictures)
    return _HEAD.format(name=_text(name)) + _from_folders(root, split)


def _from_manifest(path: Path, root: str) -> str:
    try:
        table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as a table ({error})") from error
    columns = {key: _first(table, names) for key, names in GUESSES.items()}
    used = {column for column in columns.values() if column} | {"split", "mask"}
    attributes = [str(c) for c in table if c not in used and 1 < table[c].nunique() <= FEW]
    labels = sorted(table[columns["label"]].dropna().unique()) if columns["label"] else []
    lines = [
        "data:",
        f"  root: {_text(root)}  # nothing outside it is read",
        f"  manifest: {_text(path.name)}",
        "  columns:  # the manifest's columns",
        *(
            f"    {key}: {_text(column or 'NAME-THE-COLUMN')}"
            for key, column in columns.items()
            if column or key in {"path", "label"}
        ),
        f"  attributes: {_flow(attributes)}  # subgroups to compare",
        f"  classes: {_flow([str(label) for label in labels])}",
        *_split_lines(table),
        _REGIONS.format(column="mask" if "mask" in table else "NAME-THE-MASK-COLUMN"),
    ]
    return "\n".join(lines)


def _split_lines(table: pd.DataFrame) -> list[str]:
    if "split" not in table or table["split"].dropna().empty:
        return [
            "  train: {}  # column: value(s) of the training rows; must not overlap with audit",
            "  audit: {}  # column: value(s) of the audited rows",
        ]
    values = [str(v) for v in table["split"].dropna().unique()]
    train = "train" if "train" in values else values[0]
    audited = next((v for v in ("test", "audit", "val") if v in values), values[-1])
    return [f"  train: {{split: {_text(train)}}}", f"  audit: {{split: {_text(audited)}}}"]


def _from_folders(root: str, split: bool) -> str:
    lines = ["data:", "  source: folder", f"  root: {_text(root)}  # nothing outside it is read"]
    if split:
        lines += ["  train: {split: train}", "  audit: {split: test}"]
    else:
        lines += ["  # one set of pictures: name a checkpoint below; nothing is trained"]
    return "\n".join([*lines, _REGIONS.format(column="NAME-THE-MASK-COLUMN")])


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((str(c) for n in names for c in table if str(c).lower() == n), None)


def _text(value: str) -> str:
    """A YAML scalar on one line."""
    dumped: str = yaml.safe_dump(value, allow_unicode=True, width=10**6)
    return dumped.removesuffix("...\n").strip()


def _flow(values: list[str]) -> str:
    dumped: str = yaml.safe_dump(values, default_flow_style=True, allow_unicode=True, width=10**6)
    return dumped.strip()


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
  train: {{epochs: 12}}

interventions:
  fills: [blur, local-mean]
  # swap: {{attribute: NAME, match: [COLUMNS]}}  # the strongest test, where pictures match

policy:  # defaults, explained in the README
  min_clusters: 30
  fail_effect: 0.05
  pass_effect: 0.10
"""
