"""A data set that is open for an audit: its samples, and each one's picture and regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from audit.config import Audit
from audit.data.files import Files
from audit.data.images import Pixels, read_picture
from audit.data.properties import Properties, describe
from audit.data.reasons import Kind, kind_of
from audit.data.regions import Masks, RegionReader, region_reader
from audit.data.samples import select
from audit.data.sources import read_samples
from audit.data.threads import ordered_map
from audit.errors import BadSample, DataError
from audit.tables import OK, PROPERTIES, QUARANTINED, to_arrow

_SHOWN = 3  # ids per kind in a message


@dataclass(frozen=True)
class Example:
    """One decoded sample.

    Parameters
    ----------
    picture
        uint8 ``[H, W, 3]``, RGB, upright.
    masks
        bool ``[R, H, W]``, regions in the order of ``config.regions.names``; ``[0, H, W]`` if
        loaded without.
    """

    picture: Pixels
    masks: Masks


@dataclass(frozen=True)
class Dataset:
    """Samples of an audit.

    Parameters
    ----------
    samples
        ``tables.SAMPLES`` with a column per attribute (a missing value is ``"unknown"``; crossed
        attributes follow, named ``"gender x skin_tone"``); the rows of all parts, ``RangeIndex``.
    rows
        All columns of the manifest as text (a missing value is ``""``), same index.
    classes
        Class names: ``data.classes``, or the labels, sorted.
    regions
        Names of the regions, in the order of the masks.
    files, read_regions, path_column, max_pixels
        What it takes to load a sample.
    """

    samples: pd.DataFrame
    rows: pd.DataFrame
    classes: list[str]
    regions: list[str]
    files: Files
    read_regions: RegionReader
    path_column: str
    max_pixels: int

    def subset(self, positions: npt.NDArray[np.int64]) -> Dataset:
        """Some of the samples, renumbered."""
        return replace(
            self,
            samples=self.samples.iloc[positions].reset_index(drop=True),
            rows=self.rows.iloc[positions].reset_index(drop=True),
        )

    @cached_property
    def _reasons(self) -> npt.NDArray[np.object_]:
        return self.samples["reason"].to_numpy(object)

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[np.object_]]:
        # A row of a DataFrame costs as much as decoding a small picture.
        return {str(name): self.rows[name].to_numpy(object) for name in self.rows}

    def load(self, index: int, *, with_masks: bool = True) -> Example:
        """Decode a sample: its picture and, unless told otherwise, its masks.

        Raises
        ------
        BadSample
            With the reason why it cannot be used.
        """
        known = self._reasons[index]
        if known:
            raise BadSample(known)
        row = {column: texts[index] for column, texts in self._columns.items()}
        path = self.files.find(row[self.path_column], Kind.MISSING_IMAGE)
        picture, frame = read_picture(path, max_pixels=self.max_pixels)
        if not with_masks:
            return Example(picture, np.zeros((0, *frame.size), dtype=np.bool_))
        return Example(picture, self.read_regions(row, frame))


def open_dataset(config: Audit, *, progress: Callable[[int], None] | None = None) -> Dataset:
    """Read what samples there are and which parts they are in; no picture is decoded yet.

    Parameters
    ----------
    config
        The audit.
    progress
        Called with the number of pictures drawn, where the source draws them.

    Raises
    ------
    DataError
        If the data set as a whole cannot be used.
    """
    manifest = read_samples(config.data, workers=config.execution.workers, progress=progress)
    selection = select(config, manifest)
    return Dataset(
        samples=selection.samples,
        rows=selection.rows,
        classes=selection.classes,
        regions=config.regions.names,
        files=manifest.files,
        read_regions=region_reader(config.regions, manifest),
        path_column=manifest.data.columns.path,
        max_pixels=config.data.max_pixels,
    )


def check_dataset(
    dataset: Dataset, *, workers: int, progress: Callable[[int], None] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode every sample once.

    Parameters
    ----------
    dataset
        The samples.
    workers
        Threads. The result does not depend on their number.
    progress
        Called with the number of samples done.

    Returns
    -------
    samples
        As ``dataset.samples``, with ``status`` and ``reason`` filled.
    properties
        ``tables.PROPERTIES``: what the pictures that are not quarantined are like, and the part of
        each that its regions cover.
    """

    def looked_at(index: int) -> tuple[Properties, npt.NDArray[np.float32]] | str:
        try:
            example = dataset.load(index)
        except BadSample as error:
            return str(error)
        areas = example.masks.mean(axis=(1, 2), dtype=np.float64)
        return describe(example.picture), areas.astype(np.float32)

    count = len(dataset.samples)
    ids = dataset.samples["sample_id"].to_numpy(object)
    reasons = [""] * count
    rows = []
    found = ordered_map(looked_at, range(count), workers=workers, ahead=4 * workers)
    for index, result in enumerate(found):
        if isinstance(result, str):
            reasons[index] = result
        else:
            properties, areas = result
            rows.append((ids[index], *properties, areas))
        if progress:
            progress(index + 1)
    status = [QUARANTINED if reason else OK for reason in reasons]
    described = pd.DataFrame(rows, columns=[column.name for column in PROPERTIES.columns])
    samples = dataset.samples.assign(status=status, reason=reasons)
    return samples, to_arrow(described, PROPERTIES).to_pandas()


def quarantine_limit(samples: pd.DataFrame, max_bad_fraction: float) -> None:
    """Stop where too many samples of a part are quarantined.

    Raises
    ------
    DataError
        If more than the fraction is; with the counts by kind and the first ids of each.
    """
    for part, rows in samples.groupby("part", observed=True):
        _limit_part(rows, str(part), max_bad_fraction)


def _limit_part(samples: pd.DataFrame, part: str, max_bad_fraction: float) -> None:
    bad = samples[samples["status"] == QUARANTINED]
    if len(bad) <= max_bad_fraction * len(samples) and len(bad) < len(samples):
        return
    groups = bad.groupby(bad["reason"].map(kind_of), sort=False)
    by_size = sorted(groups, key=lambda item: (-len(item[1]), str(item[0])))
    listed = "; ".join(f"{kind}: {len(group)} ({_some_ids(group)})" for kind, group in by_size)
    raise DataError(
        f"{len(bad)} of {len(samples)} samples of the {part} part cannot be used, more than "
        f"data.max_bad_fraction = {max_bad_fraction:g} allows: {listed}"
    )


def _some_ids(group: pd.DataFrame) -> str:
    ids = [repr(name) for name in group["sample_id"].head(_SHOWN)]
    return ", ".join(ids) + (", ..." if len(group) > _SHOWN else "")
