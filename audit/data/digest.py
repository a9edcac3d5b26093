"""One digest of all data that an audit reads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from audit.config import Audit, Coco, CodeMask, SeparateMasks
from audit.data.dataset import Dataset
from audit.data.files import Files
from audit.data.reasons import Kind
from audit.data.threads import ordered_map
from audit.errors import BadSample


def data_digest(config: Audit, dataset: Dataset) -> str:
    """SHA-256 over the manifest's rows and the contents of every picture and mask.

    A file that cannot be found counts as missing, one that cannot be read as unreadable; where
    files lie does not matter.
    """
    total = hashlib.sha256(dataset.rows.to_csv(index=False).encode())
    source = config.regions.source
    if isinstance(source, Coco):
        total.update(_content(replace(dataset.files, folder=dataset.files.root), source.file))
    columns = [dataset.path_column]
    if isinstance(source, CodeMask):
        columns.append(source.column)
    elif isinstance(source, SeparateMasks):
        columns.extend(source.columns.values())
    for column in columns:
        for digest in ordered_map(
            lambda path: _content(dataset.files, path),
            dataset.rows[column],
            workers=config.execution.workers,
            ahead=64,
        ):
            total.update(digest)
    return total.hexdigest()


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
