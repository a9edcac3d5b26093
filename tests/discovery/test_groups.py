"""Groups of attended features: found where there are any, and the same however the rows lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.discovery.groups import SMALLEST, find_space, finding_half, nearest
from tests.evidence.planted import some_examples


def blobs(rng: np.random.Generator, sizes: list[int], channels: int = 12) -> np.ndarray:
    """Samples around well separated centres, which every channel tells apart."""
    centres = 9 * np.random.default_rng(len(sizes)).normal(0, 1, (len(sizes), channels))
    around = np.repeat(centres, sizes, axis=0)
    return (around + rng.normal(0, 1, around.shape)).astype(np.float32)


@pytest.mark.parametrize("sizes", [[40, 20], [30, 25, 10]])
def test_separate_groups_are_found_and_met_again(sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    space = find_space(blobs(rng, sizes), most=4)
    assert space is not None
    assert space.sizes.tolist() == sorted(sizes, reverse=True)
    again = nearest(space, blobs(rng, sizes))
    ends = np.cumsum([0, *sizes])
    for number, members in enumerate(again):
        place = sizes.index(space.sizes[number])
        assert sorted(members) == list(range(ends[place], ends[place + 1]))


def test_the_nearest_to_the_centre_come_first() -> None:
    rng = np.random.default_rng(1)
    space = find_space(blobs(rng, [30, 30]), most=2)
    assert space is not None
    fresh = blobs(rng, [30, 30])
    for number, members in enumerate(nearest(space, fresh)):
        off = space.distances(fresh)[members, number]
        assert (np.diff(off) >= 0).all()


def test_no_structure_is_one_group_and_too_few_samples_none() -> None:
    same = np.ones((20, 6), dtype=np.float32)
    space = find_space(same, most=3)
    assert space is not None
    assert space.sizes.tolist() == [20]
    assert find_space(same[: SMALLEST - 1], most=3) is None


@some_examples
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_groups_do_not_depend_on_the_order_of_the_samples(seed: int, shuffle: int) -> None:
    attended = blobs(np.random.default_rng(seed), [12, 9, 7])
    order = np.random.default_rng(shuffle).permutation(len(attended))
    one, other = find_space(attended, 3), find_space(attended[order], 3)
    assert one is not None
    assert other is not None
    assert one.sizes.tolist() == other.sizes.tolist()
    np.testing.assert_allclose(one.distances(attended), other.distances(attended), rtol=1e-6)


@some_examples
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 99))
def test_clusters_are_kept_whole_and_half_of_them_are_for_finding(
    codes: list[int], seed: int
) -> None:
    cluster = np.array(codes)
    half = finding_half(cluster, seed)
    found, tested = set(cluster[half]), set(cluster[~half])
    assert not found & tested
    assert len(found) - len(tested) in (0, 1)
