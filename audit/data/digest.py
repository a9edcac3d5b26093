"""Digests of the data that an audit reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.config import Audit, Boxes, Coco, CodeMask, Landmarks
from audit.data.dataset import Dataset
from audit.data.files import Files
from audit.data.reasons import Kind
from audit.data.threads import ordered_map
from audit.errors import BadSample


def data_digests(config: Audit, dataset: Dataset) -> dict[str, str]:
    """SHA-256 of all data, and of the annotations alone.

    ``data`` is over the manifest's rows and the contents of every picture and annotation;
    ``annotations`` over the masks, the COCO file, or the manifest's columns that say where regions
    are. A file that cannot be found counts as missing, one that cannot be read as unreadable; where
    files lie does not matter.
    """
    source = config.regions.source
    annotations = hashlib.sha256()
    if isinstance(source, Coco):
        annotations.update(_content(replace(dataset.files, folder=dataset.files.root), source.file))
    elif isinstance(source, Boxes | Landmarks):
        places = dataset.rows[sorted(_names(source.columns.values()))]
        annotations.update(places.to_csv(index=False).encode())
    else:
        masks = [source.column] if isinstance(source, CodeMask) else source.columns.values()
        for column in masks:
            _update(annotations, column, config, dataset)
    data = hashlib.sha256(dataset.rows.to_csv(index=False).encode())
    data.update(annotations.digest())
    _update(data, dataset.path_column, config, dataset)
    return {"data": data.hexdigest(), "annotations": annotations.hexdigest()}


def _names(nested: Iterable[Any]) -> set[str]:
    """The column names in lists of any depth."""
    return {name for item in nested for name in ([item] if isinstance(item, str) else _names(item))}


def _update(total: Any, column: str, config: Audit, dataset: Dataset) -> None:
    """Add the contents of the files that a column of the manifest names."""
    for digest in ordered_map(
        lambda path: _content(dataset.files, path),
        dataset.rows[column],
        workers=config.execution.workers,
        ahead=64,
    ):
        total.update(digest)


def _content(files: Files, name: str) -> bytes:
    try:
        path: Path = files.find(name, Kind.MISSING_IMAGE)
    except BadSample:
        return b"missing"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b"unreadable"
