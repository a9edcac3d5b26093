"""A folder of pictures: ``<root>/<split>/<class>/x.png`` or ``<root>/<class>/x.png``."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pandas as pd

from audit.config import Columns, Data
from audit.data.files import Files
from audit.data.sources.base import Manifest, Progress, data_root, source
from audit.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm"}
MASKS = "masks"  # <root>/masks/ mirrors the pictures, in PNG, if it is there


@source("folder")
def read(data: Data, workers: int, progress: Progress | None) -> Manifest:
    """List the pictures of a folder.

    The rows have ``sample_id`` and ``path`` (the path relative to the root), ``label``, ``split``
    (``""`` without split folders) and ``mask`` (``masks/<the same path>.png``; ``""`` where
    there is no such folder).
    """
    root = data_root(data)
    paths = [path for path in _pictures(root) if path.parts[0] != MASKS]
    depths = {len(path.parts) for path in paths}
    if not depths <= {2} and not depths <= {3}:
        odd = next(path for path in paths if len(path.parts) != max(depths & {2, 3}, default=2))
        raise DataError(
            f"{root}: pictures must all lie in <class>/ or all in <split>/<class>/; see '{odd}'"
        )
    masked = (root / MASKS).is_dir()
    rows = pd.DataFrame([_row(path, masked) for path in paths], dtype=str)
    return Manifest(rows, Files(root, root), data.model_copy(update={"columns": Columns()}))


def _row(path: PurePosixPath, masked: bool) -> dict[str, str]:
    return {
        "sample_id": str(path),
        "path": str(path),
        "label": path.parts[-2],
        "split": path.parts[0] if len(path.parts) == 3 else "",
        "mask": str(MASKS / path.with_suffix(".png")) if masked else "",
    }


def _pictures(root: Path) -> list[PurePosixPath]:
    found = [
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    ]
    # A name that is no UTF-8 cannot be written to a table: shown with '?', it is 'missing image'.
    return [PurePosixPath(os.fsencode(path).decode("utf-8", "replace")) for path in sorted(found)]
