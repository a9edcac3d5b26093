"""Whether two runs audited the same data, told from their tables."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from audit.evidence.inputs import Inputs
from audit.runs.folder import Run
from audit.tables import FILES, PICTURE, PROPERTIES, SAMPLES, read_table


@dataclass(frozen=True)
class DataChange:
    """The audited samples of two runs.

    Attributes
    ----------
    before, now
        How many were audited in either run.
    unaltered, altered
        Those audited in both, by name: the same; or with another label or cluster, or another
        picture (its SHA-256 differs; of runs without ``files``, its measured properties).
    checked
        Whether pictures could be told apart: both runs keep ``files``, or their properties.
    """

    before: int
    now: int
    unaltered: list[str]
    altered: list[str]
    checked: bool

    @property
    def both(self) -> int:
        """How many were audited in both, by name."""
        return len(self.unaltered) + len(self.altered)

    @property
    def same(self) -> bool:
        """Whether the same data was audited, as far as the runs tell."""
        return self.before == self.now == len(self.unaltered)


def data_change(before: Run, now: Run, earlier: Inputs, after: Inputs) -> DataChange:
    """What was audited in two runs; the inputs are those of their evidence, before and after."""
    told = [inputs.samples.set_index("sample_id") for inputs in (earlier, after)]
    both = told[0].index.intersection(told[1].index)
    altered = _differ(*(table.loc[both, ["label", "cluster_id"]] for table in told))
    telling = [
        read
        for name, read in (("files", _hashes), ("properties", _properties))
        if all(run.table(name).is_file() for run in (before, now))
    ]
    for read in telling[:1]:
        altered |= _differ(*(read(run).reindex(both) for run in (before, now)))
    return DataChange(
        before=len(told[0]),
        now=len(told[1]),
        unaltered=list(both[~altered]),
        altered=list(both[altered]),
        checked=bool(telling),
    )


def _hashes(run: Run) -> pd.DataFrame:
    """SHA-256 of every sample's picture."""
    files = read_table(run.table("files"), FILES, ["path", "sha256"], {"kind": PICTURE})
    samples = read_table(run.table("samples"), SAMPLES, ["sample_id", "path"])
    hashes = files.drop_duplicates("path").set_index("path")["sha256"]
    return samples.set_index("sample_id")["path"].map(hashes).to_frame()


def _properties(run: Run) -> pd.DataFrame:
    columns = ["sample_id", "width", "height", "brightness", "contrast", "phash"]
    rows = read_table(run.table("properties"), PROPERTIES, columns)
    return rows.set_index("sample_id")


def _differ(one: pd.DataFrame, other: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are not the same in every column; a missing value is one too."""
    texts = [frame.astype(object).where(frame.notna(), None) for frame in (one, other)]
    return (texts[0].ne(texts[1]) & ~(one.isna() & other.isna())).any(axis=1)
