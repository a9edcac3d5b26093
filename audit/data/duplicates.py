"""Near-duplicates: pictures of the training data met again in the audit, clusters that are not two.

Two pictures are near-duplicates if their 64-bit perceptual hashes differ in at most a few bits
(``data.near_duplicate_bits``). Measured on the shipped data with the default of 2: of 1.28 million
pairs of demo scenes, all drawn apart, 1 is taken for a duplicate; of copies, compressed again
(JPEG, quality 60), scaled to 3/4 or dimmed, 93 to 100 % are found. With 4 bits 5 pairs are, and 96
to 100 %. Colour, mirroring and cropping are not seen.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from audit.tables import DUPLICATES, OK, empty, to_arrow

LEAK, CLUSTERS = "leak", "clusters"

_BITS = 64
_LISTED = 1000  # pairs of each kind in the table
_CHUNK = 2**20  # comparisons held at once
_ONES = np.array([value.bit_count() for value in range(2**16)], dtype=np.uint8)

Codes = NDArray[np.intp]
Hashes = NDArray[np.uint64]
Record = dict[Hashable, Any]


def hamming(first: Hashes, second: Hashes) -> NDArray[np.int64]:
    """Number of bits in which hashes ``[n]`` differ.

    >>> hamming(np.array([0b1011], np.uint64), np.array([0b0001], np.uint64))
    array([2])
    """
    words = np.ascontiguousarray(first ^ second).view(np.uint16).reshape(-1, 4)
    bits: NDArray[np.int64] = _ONES[words].sum(axis=1, dtype=np.int64)
    return bits


def near_pairs(hashes: Hashes, limit: int) -> Iterator[tuple[Codes, Codes]]:
    """All pairs of distinct hashes at a Hamming distance of at most ``limit``, in chunks.

    Multi-index hashing (Norouzi, Punjani and Fleet 2012): of limit + 1 bands of bits, two hashes
    that near agree in one, so only hashes with an equal band are compared. Memory grows with the
    number of hashes, not of pairs.

    Parameters
    ----------
    hashes
        [n] all different.
    limit
        Bits.

    Yields
    ------
    Positions of the first and of the second; every pair once.
    """
    bands = _bands(limit + 1)
    for number, band in enumerate(bands):
        order = np.argsort(hashes & band, kind="stable")
        keys = (hashes & band)[order]
        ends = np.searchsorted(keys, keys, side="right")
        for first, second in _same_key(ends):
            a, b = order[first], order[second]
            difference = hashes[a] ^ hashes[b]
            near = hamming(hashes[a], hashes[b]) <= limit
            for earlier in bands[:number]:  # found there already
                near &= (difference & earlier) != 0
            if near.any():
                yield a[near], b[near]


def _bands(count: int) -> list[np.uint64]:
    """Masks that part the bits; every count-th bit each, as neighbours in a hash are alike."""
    return [
        np.uint64(sum(1 << bit for bit in range(start, _BITS, count))) for start in range(count)
    ]


def _same_key(ends: Codes) -> Iterator[tuple[Codes, Codes]]:
    """Pairs i < j within runs of equal keys, where ``ends[i]`` is the end of the run of i."""
    partners = ends - np.arange(ends.size) - 1
    start = 0
    while start < ends.size:
        sums = np.cumsum(partners[start:])
        stop = start + max(1, int(np.searchsorted(sums, _CHUNK, side="right")))
        counts = partners[start:stop]
        first = np.repeat(np.arange(start, stop), counts)
        if first.size:
            before = np.repeat(np.cumsum(counts) - counts, counts)
            yield first, first + 1 + np.arange(first.size) - before
        start = stop


@dataclass(frozen=True)
class _Group:
    """Samples of the audit, or of training and validation, by their hash.

    Attributes
    ----------
    rows
        The samples, by hash; one for each hash and cluster in ``apart``.
    count
        [H] samples with each hash.
    by_cluster
        [H, C] those of each cluster.
    """

    rows: pd.DataFrame
    apart: pd.DataFrame
    count: Codes
    by_cluster: Any

    @classmethod
    def of(cls, rows: pd.DataFrame, hashes: int, clusters: int) -> _Group:
        rows = rows.sort_values(["hash", "sample_id"], kind="stable")
        cells = (rows["hash"].to_numpy(), rows["cluster"].to_numpy())
        ones = np.ones(len(rows), dtype=np.int64)
        by_cluster = sparse.coo_array((ones, cells), shape=(hashes, clusters)).tocsr()
        apart = rows.drop_duplicates(["hash", "cluster"])
        return cls(rows, apart, np.bincount(cells[0], minlength=hashes), by_cluster)

    def shared(self, first: Codes, second: Codes) -> Codes:
        """Pairs within one cluster that each pair of hashes has."""
        both = self.by_cluster[first].multiply(self.by_cluster[second]).sum(axis=1)
        return np.asarray(both, dtype=np.int64)


def find_duplicates(samples: pd.DataFrame, properties: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Near-duplicates that make an audit say too much.

    A **leak** is an audited picture that is in the training or validation part too: its accuracy
    is inflated. Pairs of different **clusters** within one part are not independent, so intervals
    are too narrow (training and validation count as one part).

    Parameters
    ----------
    samples, properties
        Tables as in :mod:`audit.tables`, of the same audit.
    limit
        Bits in which the hashes of near-duplicates may differ.

    Returns
    -------
    pandas.DataFrame
        The duplicates table: of each kind the closest 1,000 pairs, with the number of all.
    """
    known = samples.loc[samples["status"] == OK, ["sample_id", "part", "cluster_id"]]
    table = properties[["sample_id", "phash"]].merge(known, on="sample_id")
    table = table.sort_values("sample_id", ignore_index=True)
    hashes, table["hash"] = np.unique(table["phash"].to_numpy(np.uint64), return_inverse=True)
    table["cluster"] = pd.factorize(table["cluster_id"].to_numpy(object), sort=True)[0]
    sizes = hashes.size, int(table["cluster"].max()) + 1 if len(table) else 0
    of_audit = table["part"].astype(str) == "audit"
    audit, training = (_Group.of(table[of_audit == side], *sizes) for side in (True, False))
    leaks, within = _Leaks(audit, training), [_Within(audit), _Within(training)]
    kinds: list[_Leaks | _Within] = [leaks, *within]
    itself = np.arange(hashes.size)
    for kind in kinds:
        kind.add(itself, itself, np.zeros_like(itself))
    for first, second in near_pairs(hashes, limit):
        distance = hamming(hashes[first], hashes[second])
        for kind in kinds:
            kind.add(first, second, distance)
    frame = pd.DataFrame([*leaks.listed(), *_closest_of(within)])
    if frame.empty:
        return empty(DUPLICATES)
    found: pd.DataFrame = to_arrow(frame, DUPLICATES).to_pandas()
    return found


class _Pairs:
    """Pairs of one kind: how many there are, and the closest pairs of hashes that hold some."""

    def __init__(self) -> None:
        self.pairs = 0
        self.closest: list[tuple[int, int, int]] = []  # distance, hash, hash

    def keep(self, first: Codes, second: Codes, distance: Codes, pairs: Codes) -> None:
        """Count the pairs of samples in pairs of hashes, and remember the closest of these."""
        self.pairs += int(pairs.sum())
        some = pairs > 0
        found = zip(*(x[some].tolist() for x in (distance, first, second)), strict=True)
        self.closest = sorted([*self.closest, *found])[:_LISTED]


class _Leaks(_Pairs):
    """Pairs of an audited sample and one of the training data."""

    def __init__(self, audit: _Group, training: _Group) -> None:
        super().__init__()
        self.audit, self.training = audit, training
        self.reached = np.zeros(audit.count.size, dtype=np.bool_)

    def add(self, first: Codes, second: Codes, distance: Codes) -> None:
        """Take in pairs of hashes; the same twice stands for equal hashes."""
        both_ways = (
            [(first, second), (second, first)] if (first != second).all() else [(first, second)]
        )
        for a, b in both_ways:
            pairs = self.audit.count[a] * self.training.count[b]
            self.keep(a, b, distance, pairs)
            self.reached[a[pairs > 0]] = True

    def listed(self) -> list[dict[str, Any]]:
        """Rows of the table."""
        pictures = int(self.audit.count[self.reached].sum())
        return list(islice(self._rows(pictures), _LISTED))

    def _rows(self, pictures: int) -> Iterator[dict[str, Any]]:
        ours, theirs = (_Members(group.rows) for group in (self.audit, self.training))
        for distance, a, b in self.closest:
            for one in ours[a]:
                for other in theirs[b]:
                    yield _row(LEAK, one, other, distance, self.pairs, pictures)


class _Within(_Pairs):
    """Pairs of samples of one group that are of different clusters."""

    def __init__(self, group: _Group) -> None:
        super().__init__()
        self.group = group
        code, cluster = (group.rows[name].to_numpy() for name in ("hash", "cluster"))
        self.own_least = np.full(group.count.size, np.iinfo(np.int64).max)
        self.own_most = np.full(group.count.size, -1)
        np.minimum.at(self.own_least, code, cluster)
        np.maximum.at(self.own_most, code, cluster)
        self.least, self.most = self.own_least.copy(), self.own_most.copy()

    def add(self, first: Codes, second: Codes, distance: Codes) -> None:
        """Take in pairs of hashes; the same twice stands for equal hashes."""
        pairs = self.group.count[first] * self.group.count[second]
        pairs = pairs - self.group.shared(first, second)
        self.keep(first, second, distance, np.where(first == second, pairs // 2, pairs))
        for a, b in ((first, second), (second, first)):
            np.minimum.at(self.least, a, self.own_least[b])
            np.maximum.at(self.most, a, self.own_most[b])

    @property
    def pictures(self) -> int:
        """Samples with a near-duplicate in another cluster: not all near ones are of their own."""
        rows = self.group.rows
        own, near = rows["cluster"].to_numpy(), rows["hash"].to_numpy()
        return int(((self.least[near] != own) | (self.most[near] != own)).sum())

    def rows(self, pairs: int, pictures: int) -> Iterator[dict[str, Any]]:
        """Rows of the table; of equal pictures in one cluster the first."""
        members = _Members(self.group.apart)
        for distance, a, b in self.closest:
            for one in members[a]:
                for other in members[b]:
                    both_ways = a == b and one["sample_id"] > other["sample_id"]
                    if one["cluster"] != other["cluster"] and not both_ways:
                        yield _row(CLUSTERS, one, other, distance, pairs, pictures)


def _closest_of(groups: list[_Within]) -> list[dict[str, Any]]:
    """Rows for pairs of clusters in all groups."""
    pairs, pictures = sum(g.pairs for g in groups), sum(g.pictures for g in groups)
    rows = [row for g in groups for row in islice(g.rows(pairs, pictures), _LISTED)]
    return sorted(rows, key=lambda row: (row["distance"], row["sample_id"], row["other_id"]))[
        :_LISTED
    ]


class _Members:
    """The first samples of each hash."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows, self.places = rows, rows.groupby("hash").indices

    def __getitem__(self, code: int) -> list[Record]:
        return self.rows.iloc[self.places[code][:_LISTED]].to_dict("records")


def _row(
    kind: str, one: Record, other: Record, distance: int, pairs: int, pictures: int
) -> dict[str, Any]:
    return {
        "kind": kind,
        "sample_id": one["sample_id"],
        "other_id": other["sample_id"],
        "part": one["part"],
        "other_part": other["part"],
        "distance": distance,
        "pairs": pairs,
        "pictures": pictures,
    }


def duplicate_warnings(duplicates: pd.DataFrame) -> list[str]:
    """What the duplicates mean for the audit, a sentence for each kind that occurs."""
    said = {
        LEAK: "Audited pictures that look like a training picture: {pictures:,} (pairs: "
        "{pairs:,}). If they are copies, the accuracy is inflated.",
        CLUSTERS: "Pictures that look like one of another cluster of their part: {pictures:,} "
        "(pairs: {pairs:,}). If they are copies, intervals are too narrow; check "
        "data.columns.cluster_id.",
    }
    first = duplicates.astype({"kind": object}).drop_duplicates("kind").set_index("kind")
    return [
        text.format(pictures=first["pictures"][kind], pairs=first["pairs"][kind])
        for kind, text in said.items()
        if kind in first.index
    ]
