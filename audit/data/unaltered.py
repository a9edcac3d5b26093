"""Whether the files that a shard was computed from are still those whose hashes were told."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pandas.util import hash_array

from audit.config import Audit
from audit.data.dataset import Dataset
from audit.data.digest import content_of, named_columns

Integers = npt.NDArray[np.uint64]

_SHOWN = 16  # hexadecimal digits of a SHA-256, as many as 64 bits hold


class Known(NamedTuple):
    """Files by a hash of their path, sorted, and the first 64 bits of their SHA-256.

    Numbers, since ten million names and hashes as text would not fit beside a model.
    """

    paths: Integers
    digests: Integers


def known_files(table: Path) -> Known:
    """The files of a table ``files``; read once per process."""
    return _known(table, table.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _known(table: Path, _changed: int) -> Known:
    paths, digests = [], []
    with pq.ParquetFile(table) as stored:
        for batch in stored.iter_batches(columns=["path", "sha256"]):
            there = batch.filter(batch["sha256"].is_valid())
            paths.append(_hashed(there["path"].to_pylist()))
            told = (int(text[:_SHOWN], 16) for text in there["sha256"].to_pylist())
            digests.append(np.fromiter(told, np.uint64, len(there)))
    every = np.concatenate([np.empty(0, np.uint64), *paths])
    order = np.argsort(every)
    return Known(every[order], np.concatenate([np.empty(0, np.uint64), *digests])[order])


def altered_files(
    config: Audit, dataset: Dataset, positions: Iterable[int], known: Known
) -> list[str]:
    """Paths of the pictures and masks of some samples that hold something else than was told."""
    rows = dataset.rows.iloc[list(positions)]
    columns = [column for _, column in named_columns(config, dataset)]
    paths = sorted({path for column in columns for path in rows[column] if path})
    names = [dataset.files.from_root(path) for path in paths]
    at = np.searchsorted(known.paths, _hashed(names)).clip(max=len(known.paths) - 1)
    return [
        name
        for path, name, hashed, place in zip(paths, names, _hashed(names), at, strict=True)
        if known.paths[place] != hashed
        or int(content_of(dataset.files, path).digest.hex()[:_SHOWN], 16) != known.digests[place]
    ]


def _hashed(names: list[str]) -> Integers:
    hashed: Integers = hash_array(np.array(names, dtype=object), categorize=False)
    return hashed
