"""A folder of pictures: ``<root>/<split>/<class>/x.png`` or ``<root>/<class>/x.png``."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image

from audit.config import Columns, Data
from audit.data.files import Files, LocalFiles, RemoteFiles, files_of
from audit.data.images import FORMATS
from audit.data.sources.base import Manifest, Progress, source
from audit.errors import DataError

SUFFIXES = {
    suffix
    for suffix, kind in Image.registered_extensions().items()
    if kind in (*FORMATS, "MPO")  # which JPEG opens
}
MASKS = "masks"  # <root>/masks/ mirrors the pictures, in PNG, if it is there


@source("folder")
def read(data: Data, workers: int, progress: Progress | None) -> Manifest:
    """List the pictures of a folder.

    The rows have ``sample_id`` and ``path`` (the path relative to the root), ``label``, ``split``
    (``""`` without split folders) and ``mask`` (``masks/<the same path>.png``; ``""`` where
    there is no such folder).
    """
    files = files_of(data.root)
    if data.columns != Columns():
        raise DataError(
            "data.columns: source 'folder' has columns of its own; list the pictures in a table "
            "and use source 'manifest'"
        )
    listed, masked = _listed(files)
    paths = [path for path in listed if path.parts[0] != MASKS]
    depths = {len(path.parts) for path in paths}
    if not depths <= {2} and not depths <= {3}:
        odd = next(path for path in paths if len(path.parts) != max(depths & {2, 3}, default=2))
        raise DataError(
            f"{files.shown()}: pictures must all lie in <class>/ or all in <split>/<class>/; "
            f"see '{odd}'"
        )
    rows = pd.DataFrame([_row(path, masked) for path in paths], dtype=str)
    return Manifest(rows, files, data.model_copy(update={"columns": Columns()}))


def _row(path: PurePosixPath, masked: bool) -> dict[str, str]:
    return {
        "sample_id": str(path),
        "path": str(path),
        "label": path.parts[-2],
        "split": path.parts[0] if len(path.parts) == 3 else "",
        "mask": str(MASKS / path.with_suffix(".png")) if masked else "",
    }


def _listed(files: Files) -> tuple[list[PurePosixPath], bool]:
    """Pictures, the masks among them, and whether there is a folder of masks."""
    if isinstance(files, RemoteFiles):
        keys = files.store.keys()
        pictures = [PurePosixPath(key) for key in keys if _is_picture(PurePosixPath(key).name)]
        return pictures, any(key.startswith(f"{MASKS}/") for key in keys)
    assert isinstance(files, LocalFiles)
    return _pictures(files.root), (files.root / MASKS).is_dir()


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _pictures(root: Path) -> list[PurePosixPath]:
    found = []
    for folder, inner, names in os.walk(root):
        place = Path(folder).relative_to(root)
        _refuse_links(root, [place / name for name in inner])
        found += [(place / name).as_posix() for name in names if _is_picture(name)]
    # A name that is no UTF-8 cannot be written to a table: shown with '?', it is 'missing image'.
    return [PurePosixPath(os.fsencode(path).decode("utf-8", "replace")) for path in sorted(found)]


def _refuse_links(root: Path, folders: list[Path]) -> None:
    """Linked folders are not walked through, so their pictures would be missed unseen."""
    for folder in folders:
        aside = folder.parts[0] == MASKS or any(part.startswith(".") for part in folder.parts)
        if (root / folder).is_symlink() and not aside:
            raise DataError(
                f"{root}: '{folder}' is a link to a folder, which is not followed; move the folder "
                "here, or list the pictures in a table and use source 'manifest'"
            )
