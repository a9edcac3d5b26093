"""The run's pictures, as the page needs them: records and data URIs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from audit.errors import RunError
from reports.run import Record, Run

CUE_BUDGET = 600_000  # bytes of the pictures of unnamed cues
BUDGET = 2_000_000  # bytes of picture files; with base64 and Plotly a report stays under 6 MB
_TYPES = {".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def embed(run: Run, budget: int = BUDGET) -> dict[str, Any]:
    """Pictures of a run with their files as data URIs.

    Returns
    -------
    dict
        ``pictures``: the records, as many as fit into ``budget`` bytes; ``files``: data URI by
        file name; ``left_out``: how many records did not fit.

    Raises
    ------
    RunError
        If a record names a file that is missing, is no picture, or lies elsewhere.
    """
    folder = run.folder / "pictures"
    kept: list[Record] = []
    files: dict[str, str] = {}
    size = 0
    for record in run.pictures:
        content = {name: read_picture(folder, name) for name in _names(record, folder)}
        size += sum(len(data) for name, data in content.items() if name not in files)
        if size > budget:
            break
        files |= {name: data_uri(name, data) for name, data in content.items()}
        kept.append(record)
    return {"pictures": kept, "files": files, "left_out": len(run.pictures) - len(kept)}


def embed_cues(run: Run, budget: int = CUE_BUDGET) -> list[Record]:
    """Typical pictures of the unnamed cues, with ``src``: as many as fit into ``budget`` bytes.

    Raises
    ------
    RunError
        If a record names a file that is missing, is no picture, or lies elsewhere.
    """
    folder = run.folder / "cues"
    kept: list[Record] = []
    for record in run.cue_pictures:
        if not {"cue", "file", "size", "patch", "sample_id", "label"} <= record.keys():
            raise RunError(
                f"{folder / 'pictures.json'}: a picture lacks a key; run the audit again"
            )
        content = read_picture(folder, record["file"])
        budget -= len(content)
        if budget < 0:
            break
        kept.append(record | {"src": data_uri(record["file"], content)})
    return kept


def _names(record: Record, folder: Path) -> list[str]:
    try:
        names = [record["original"], record.get("guided"), *record.get("maps", {}).values()]
        names += [variant["file"] for variant in record.get("variants", [])]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / 'pictures.json'}: a picture lacks {error}") from error
    return [name for name in names if name is not None]


def read_picture(folder: Path, name: str) -> bytes:
    """Content of a picture's file.

    Raises
    ------
    RunError
        If it is missing, is no picture, or lies elsewhere.
    """
    path = folder / str(name)
    if Path(str(name)).name != name or path.suffix.lower() not in _TYPES:
        raise RunError(f"{folder / 'pictures.json'}: {name!r} is not a picture in that folder")
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error


def data_uri(name: str, content: bytes) -> str:
    """A picture as a data URI."""
    kind = _TYPES[Path(name).suffix.lower()]
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
