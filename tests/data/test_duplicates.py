"""Near-duplicates, against comparing every sample with every other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.duplicates import duplicate_warnings, find_duplicates, hamming, near_pairs
from audit.tables import PROPERTIES, empty
from tests.evidence.planted import some_examples

PARTS = ("train", "validation", "audit")


def tables(rows: list[tuple[int, str, int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and properties from hash, part and cluster."""
    names = [f"s{i}" for i in range(len(rows))]
    samples = pd.DataFrame(
        {
            "sample_id": names,
            "part": [part for _, part, _ in rows],
            "cluster_id": [f"c{cluster}" for *_, cluster in rows],
            "status": "ok",
        }
    )
    properties = pd.DataFrame(
        {"sample_id": names, "phash": np.array([value for value, *_ in rows], dtype=np.uint64)}
    )
    return samples, properties


def brute_force(rows: list[tuple[int, str, int]], limit: int) -> dict[str, Any]:
    """Every pair of every kind, and the samples in them."""
    pairs: dict[str, set[tuple[str, str, int]]] = {"leak": set(), "clusters": set()}
    pictures: dict[str, set[int]] = {"leak": set(), "clusters": set()}
    for i, j in combinations(range(len(rows)), 2):
        distance = (rows[i][0] ^ rows[j][0]).bit_count()
        in_audit = [rows[k][1] == "audit" for k in (i, j)]
        if distance > limit:
            continue
        if sum(in_audit) == 1:
            audited, other = (i, j) if in_audit[0] else (j, i)
            pairs["leak"].add((f"s{audited}", f"s{other}", distance))
            pictures["leak"].add(audited)
        elif rows[i][2] != rows[j][2]:
            first, second = sorted([f"s{i}", f"s{j}"])
            pairs["clusters"].add((first, second, distance))
            pictures["clusters"] |= {i, j}
    return {"pairs": pairs, "pictures": pictures}


some_bits = st.lists(st.integers(0, 63), max_size=5).map(lambda bits: sum({1 << b for b in bits}))
some_rows = st.lists(st.tuples(some_bits, st.sampled_from(PARTS), st.integers(0, 3)), max_size=14)


@given(some_rows, st.integers(0, 6))
@some_examples
def test_the_pairs_are_those_of_comparing_all(rows: list[tuple[int, str, int]], limit: int) -> None:
    # one sample for each hash and cluster: such are listed once
    rows = list({(value, part == "audit", cluster): (value, part, cluster)
                 for value, part, cluster in rows}.values())  # fmt: skip
    found = find_duplicates(*tables(rows), limit)
    expected = brute_force(rows, limit)
    for kind, pairs in expected["pairs"].items():
        part = found[found["kind"] == kind]
        listed = set(zip(part["sample_id"], part["other_id"], part["distance"], strict=True))
        if kind == "clusters":
            listed = {(*sorted([a, b]), d) for a, b, d in listed}
        assert listed == pairs
        assert len(part) == len(pairs)


@given(some_rows, st.integers(0, 6))
@some_examples
def test_pairs_and_pictures_are_counted_with_all_copies(
    rows: list[tuple[int, str, int]], limit: int
) -> None:
    found = find_duplicates(*tables(rows), limit).drop_duplicates("kind").set_index("kind")
    expected = brute_force(rows, limit)
    for kind, pairs in expected["pairs"].items():
        assert (kind in found.index) == bool(pairs)
        if pairs:
            assert found["pairs"][kind] == len(pairs)
            assert found["pictures"][kind] == len(expected["pictures"][kind])


@pytest.mark.parametrize("limit", [0, 2, 4, 9])
def test_every_near_pair_of_hashes_is_found_once(limit: int) -> None:
    rng = np.random.default_rng(limit)
    base = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = [int(h) for h in base]
    for value in base[:30]:
        flips = rng.choice(64, rng.integers(1, 12), replace=False)
        hashes.append(int(value) ^ sum(1 << int(bit) for bit in flips))
    array = np.unique(np.array(hashes, dtype=np.uint64))
    found = [
        tuple(sorted(pair)) for a, b in near_pairs(array, limit) for pair in zip(a, b, strict=True)
    ]
    values = array.tolist()
    expected = [
        (i, j)
        for i, j in combinations(range(len(values)), 2)
        if (values[i] ^ values[j]).bit_count() <= limit
    ]
    assert sorted(found) == expected


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.arange(300, dtype=np.uint64)
    whole = sorted((a, b) for x, y in near_pairs(hashes, 3) for a, b in zip(x, y, strict=True))
    monkeypatch.setattr("audit.data.duplicates._CHUNK", 7)
    assert (
        sorted((a, b) for x, y in near_pairs(hashes, 3) for a, b in zip(x, y, strict=True)) == whole
    )


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=6))
@some_examples
def test_hamming_counts_bits(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array([p[i] for p in pairs], dtype=np.uint64) for i in (0, 1))
    assert hamming(first, second).tolist() == [(a ^ b).bit_count() for a, b in pairs]


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [(i % 5 * 3, PARTS[i % 3], i % 4) for i in range(30)]
    samples, properties = tables(rows)
    mixed = samples.sample(frac=1, random_state=1), properties.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(
        find_duplicates(samples, properties, 2), find_duplicates(*mixed, 2)
    )


def test_a_list_is_capped_and_the_total_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.data.duplicates._LISTED", 10)
    rows = [(0, "audit", i) for i in range(30)] + [(0, "train", 100 + i) for i in range(20)]
    found = find_duplicates(*tables(rows), 0)
    assert found["kind"].value_counts().to_dict() == {"leak": 10, "clusters": 10}
    totals = found.drop_duplicates("kind").set_index("kind")
    assert totals["pairs"].to_dict() == {"leak": 600, "clusters": 30 * 29 // 2 + 20 * 19 // 2}
    assert totals["pictures"].to_dict() == {"leak": 30, "clusters": 50}
    leak, clusters = duplicate_warnings(found)
    assert "training picture: 30 (pairs: 600)" in leak
    assert "of their part: 50" in clusters


def test_quarantined_samples_and_no_samples_have_no_duplicates() -> None:
    samples, properties = tables([(1, "train", 0), (1, "audit", 1)])
    quarantined = samples.assign(status="quarantined")
    assert find_duplicates(quarantined, properties, 2).empty
    assert find_duplicates(samples, empty(PROPERTIES), 2).empty
    assert duplicate_warnings(find_duplicates(samples, empty(PROPERTIES), 2)) == []
