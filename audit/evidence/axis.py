"""The audited samples as an axis: where each is, and what the tables say of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.errors import RunError
from audit.evidence.intervals import Floats
from audit.parts import Rows, parts_of

#: Columns that the evidence needs; reading no others keeps large audits small in memory.
ATTENTION_COLUMNS = (
    *("sample_id", "method", "explained", "region"),
    *("share", "area", "rho", "measurable"),
)
MAPS_COLUMNS = ("sample_id", "explained", "map", "masks")

Mask = NDArray[np.bool_]
Positions = NDArray[np.intp]


class Axis:
    """The audited samples by name.

    Parameters
    ----------
    audited
        Their names, in the order of the axis.
    known
        Names of all samples of the run.
    """

    def __init__(self, audited: pd.Series[str], known: pd.Series[str]) -> None:
        self.size = len(audited)
        self._audited = pd.Index(audited)
        self._known = known

    def located(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """The rows of audited samples, with their place on the axis in ``at``.

        Raises
        ------
        RunError
            If a sample is not in the samples table.
        """
        at = self._audited.get_indexer(pd.Index(table["sample_id"]))
        elsewhere = table["sample_id"][at < 0]
        strange = elsewhere[~elsewhere.isin(self._known)] if len(elsewhere) else elsewhere
        if len(strange):
            raise RunError(
                f"{name}: sample {strange.iloc[0]!r} is not in the samples table; "
                "run the audit again"
            )
        table = table.assign(at=at)
        return table[at >= 0] if len(elsewhere) else table


class Once:
    """Marks the samples that were seen, and refuses the second row of one.

    Parameters
    ----------
    size
        Of the axis.
    what
        What a sample must not have two rows for.
    """

    def __init__(self, size: int, what: str) -> None:
        self.seen: Mask = np.zeros(size, dtype=np.bool_)
        self._what = what

    def mark(self, rows: pd.DataFrame) -> Positions:
        """The places of located rows.

        Raises
        ------
        RunError
            If a sample has two.
        """
        twice = rows["at"].duplicated().to_numpy() | self.seen[rows["at"].to_numpy()]
        if twice.any():
            raise has_two(rows["sample_id"][twice].iloc[0], self._what)
        at: Positions = rows["at"].to_numpy(np.intp)
        self.seen[at] = True
        return at


def has_two(sample: object, what: str) -> RunError:
    """The error of a sample with two rows where one is expected."""
    return RunError(f"sample {sample!r} has two rows for {what}; run the audit again")


class Measured(NamedTuple):
    """Attention on one region, on the axis of the samples.

    Attributes
    ----------
    usable
        [n] whether there is a map with positive mass, and the region is large enough.
    share, log_rho
        [n] NaN where there is none.
    """

    usable: Mask
    share: Floats
    log_rho: Floats


class Attention(NamedTuple):
    """What the attention table says.

    Attributes
    ----------
    measured
        Method and region: attention of the maps that explain the true class.
    lacking
        Region: [n] the samples that do not have it.
    """

    measured: dict[tuple[str, str], Measured]
    lacking: dict[str, Mask]


class _Numbers:
    """The numbers of one method and region, filled part by part."""

    def __init__(self, size: int, what: str) -> None:
        self._once = Once(size, what)
        self._share, self._rho = np.full(size, np.nan), np.full(size, np.nan)
        self._large = np.zeros(size, dtype=np.bool_)

    def add(self, rows: pd.DataFrame) -> None:
        at = self._once.mark(rows)
        self._share[at] = rows["share"].to_numpy(np.float64)
        self._rho[at] = rows["rho"].to_numpy(np.float64)
        self._large[at] = rows["measurable"].eq(True).to_numpy(np.bool_)

    def measured(self) -> Measured:
        usable = self._large & ~np.isnan(self._share) & ~np.isnan(self._rho)
        return Measured(usable, self._share, np.log(self._rho, out=self._rho))


def read_attention(attention: Rows, axis: Axis) -> Attention:
    """Bring the attention table on the axis of the samples, a part at a time.

    Raises
    ------
    RunError
        If a sample is unknown, or has two rows for the same map and region.
    """
    numbers: dict[tuple[str, str], _Numbers] = {}
    lacking: dict[str, Mask] = {}
    for part in parts_of(attention):
        rows = axis.located(part[list(ATTENTION_COLUMNS)], "attention")
        for region, at in rows[rows["area"] == 0].groupby("region", observed=True)["at"]:
            without = lacking.setdefault(str(region), np.zeros(axis.size, dtype=np.bool_))
            without[at.to_numpy(np.intp)] = True
        true = rows[rows["explained"] == "true"]
        for (method, name), some in true.groupby(["method", "region"], observed=True, sort=True):
            key = str(method), str(name)
            if key not in numbers:
                numbers[key] = _Numbers(axis.size, f"{method} on {str(name)!r}")
            numbers[key].add(some)
    return Attention({key: found.measured() for key, found in numbers.items()}, lacking)
