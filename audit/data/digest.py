"""Digests of the data that an audit reads: of all of it, and of every file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from audit.atomic import replacing
from audit.config import Audit, Boxes, Coco, CodeMask, Landmarks, SeparateMasks
from audit.data.dataset import Dataset
from audit.data.files import Files
from audit.data.reasons import Kind
from audit.data.threads import ordered_map
from audit.errors import BadSample
from audit.tables import FILES, PICTURE

MANIFEST, MASK, ANNOTATION = "manifest", "mask", "annotation"
MISSING = "missing"
UNREADABLE = "unreadable"

_AT_ONCE = 1 << 16  # rows of the table of files in memory


class Content(NamedTuple):
    """What a file holds: its size and SHA-256, or only why they are not known."""

    size: int | None
    digest: bytes
    known: bool

    @property
    def text(self) -> str | None:
        """The SHA-256 in hexadecimal; ``None`` where it is not known."""
        return self.digest.hex() if self.known else None


Write = Callable[[str, str, Content], None]  # kind, path relative to the root, content


def data_digests(config: Audit, dataset: Dataset, table: Path | None = None) -> dict[str, str]:
    """SHA-256 of all data, and of the annotations alone.

    ``data`` is over the manifest's rows and the contents of every picture and annotation;
    ``annotations`` over the masks, the COCO file, or the manifest's columns that say where regions
    are. A file that cannot be found counts as missing, one that cannot be read as unreadable; where
    files lie does not matter.

    Parameters
    ----------
    config, dataset
        The audit and its data.
    table
        Where to write ``tables.FILES``, a row a file, at no second reading: the table of samples,
        then annotations and pictures as the rows name them first. Nowhere if None.
    """
    with _writing(table) as write:
        if config.data.source != "folder" and table is not None:
            name = config.data.manifest if config.data.source == "manifest" else "manifest.csv"
            write(MANIFEST, name, content_of(dataset.files.at_root(), name))
        return _digests(config, dataset, write)


def _digests(config: Audit, dataset: Dataset, write: Write) -> dict[str, str]:
    source = config.regions.source
    annotations = hashlib.sha256()
    if isinstance(source, Coco):
        found = content_of(dataset.files.at_root(), source.file)
        annotations.update(found.digest)
        write(ANNOTATION, source.file, found)
    elif isinstance(source, Boxes | Landmarks):
        places = dataset.rows[sorted(_names(source.columns.values()))]
        annotations.update(places.to_csv(index=False).encode())
    for kind, column in named_columns(config, dataset):
        if kind == MASK:
            _update(annotations, column, kind, config, dataset, write)
    data = hashlib.sha256(dataset.rows.to_csv(index=False).encode())
    data.update(annotations.digest())
    _update(data, dataset.path_column, PICTURE, config, dataset, write)
    return {"data": data.hexdigest(), "annotations": annotations.hexdigest()}


def named_columns(config: Audit, dataset: Dataset) -> list[tuple[str, str]]:
    """Kind and column of the files that the rows name: masks first, then pictures."""
    source = config.regions.source
    masks: list[str] = []
    if isinstance(source, CodeMask):
        masks = [source.column]
    elif isinstance(source, SeparateMasks):
        masks = list(source.columns.values())
    return [*((MASK, column) for column in masks), (PICTURE, dataset.path_column)]


def _names(nested: Iterable[Any]) -> set[str]:
    """The column names in lists of any depth."""
    return {name for item in nested for name in ([item] if isinstance(item, str) else _names(item))}


def _update(
    total: Any, column: str, kind: str, config: Audit, dataset: Dataset, write: Write
) -> None:
    """Add the contents of the files that a column of the manifest names."""
    paths = dataset.rows[column]
    repeated = (paths.duplicated() | (paths == "")).to_numpy()
    contents = ordered_map(
        lambda path: content_of(dataset.files, path),
        paths,
        workers=config.execution.workers,
        ahead=64,
    )
    for path, again, content in zip(paths, repeated, contents, strict=True):
        total.update(content.digest)
        if not again:
            write(kind, dataset.files.from_root(path), content)


def content_of(files: Files, name: str) -> Content:
    """Size and SHA-256 of a file of the data set, or why there are none."""
    try:
        path: Path = files.find(name, Kind.MISSING_IMAGE)
    except BadSample:
        return Content(None, MISSING.encode(), known=False)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            return Content(file.tell(), digest, known=True)
    except OSError:
        return Content(None, UNREADABLE.encode(), known=False)


@contextmanager
def _writing(table: Path | None) -> Iterator[Write]:
    """What writes a row of the table of files; the rows go to disk as they come."""
    if table is None:
        yield lambda kind, path, content: None
        return
    rows: list[tuple[str, str, int | None, str | None]] = []
    with (
        replacing(table) as draft,
        pq.ParquetWriter(draft, FILES.schema(), compression="zstd") as out,
    ):

        def flush() -> None:
            names = FILES.schema().names
            listed = [dict(zip(names, row, strict=True)) for row in rows]
            out.write_table(pa.Table.from_pylist(listed, schema=FILES.schema()))
            rows.clear()

        def write(kind: str, path: str, content: Content) -> None:
            rows.append((kind, path, content.size, content.text))
            if len(rows) == _AT_ONCE:
                flush()

        yield write
        flush()
