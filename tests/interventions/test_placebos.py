"""Every registered placebo keeps what EVIDENCE asks of one; then what each kind adds."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audit.config import PlaceboName
from audit.interventions import PLACEBOS, placebo_mask
from audit.interventions.placebos.registry import Mask

SHAPE = (12, 15)
MASKS = hnp.arrays(bool, SHAPE)
NOTHING = np.zeros((40, 40), dtype=bool)


def square(top: int, left: int, side: int = 6) -> Mask:
    region = NOTHING.copy()
    region[top : top + side, left : left + side] = True
    return region


def distance(mask: Mask) -> float:
    """Mean distance from the centre."""
    rows, columns = np.nonzero(mask)
    return float(np.hypot(rows - 19.5, columns - 19.5).mean())


def placed(name: str, region: Mask, avoid: Mask, seed: int) -> Mask:
    placebo = placebo_mask(name, region, avoid, seed)
    assert placebo is not None
    return placebo


def test_the_configuration_knows_them_all() -> None:
    assert sorted(get_args(PlaceboName)) == sorted(PLACEBOS)


@pytest.mark.parametrize("name", sorted(PLACEBOS))
class TestEveryPlacebo:
    @given(region=MASKS, avoid=MASKS, seed=st.integers(0, 2**40))
    def test_equal_area_elsewhere_or_none_when_it_cannot_fit(
        self, name: str, region: Mask, avoid: Mask, seed: int
    ) -> None:
        before = region.copy(), avoid.copy()
        placebo = placebo_mask(name, region, avoid, seed)
        assert np.array_equal(region, before[0])
        assert np.array_equal(avoid, before[1])
        room = int((~(region | avoid)).sum())
        if region.sum() == 0 or room < region.sum():
            assert placebo is None
            return
        assert placebo is not None
        assert placebo.sum() == region.sum()
        assert not (placebo & (region | avoid)).any()

    def test_same_seed_same_place_other_seeds_other_places(self, name: str) -> None:
        region = square(4, 16)
        places = [placed(name, region, NOTHING, seed) for seed in range(8)]
        assert np.array_equal(places[0], placed(name, region, NOTHING, 0))
        assert len({place.tobytes() for place in places}) > 4

    @pytest.mark.parametrize(("top", "off"), [(2, 5), (17, 7), (32, 5)])  # the centre is taken
    def test_lies_about_as_far_from_the_centre(self, name: str, top: int, off: float) -> None:
        region = square(top, 17)
        for seed in range(10):
            placebo = placed(name, region, NOTHING, seed)
            assert abs(distance(placebo) - distance(region)) < off

    def test_is_compact_where_there_is_room(self, name: str) -> None:
        rows, columns = np.nonzero(placed(name, square(5, 20, 10), NOTHING, 3))
        assert np.hypot(rows - rows.mean(), columns - columns.mean()).max() < 20


def nearest_free(region: Mask, avoid: Mask, seed: int) -> Mask:
    """Sort every free pixel by its distance, and take as many as the region has."""
    free = [tuple(p) for p in np.argwhere(~(region | avoid)).tolist()]
    size, centre = int(region.sum()), [(n - 1) / 2 for n in region.shape]
    wanted = np.mean([np.hypot(*(p - centre)) for p in np.argwhere(region)])
    off = [abs(np.hypot(p[0] - centre[0], p[1] - centre[1]) - wanted) for p in free]
    limit = sorted(off)[max(size, len(free) // 10) - 1]
    similar = [p for p, o in zip(free, off, strict=True) if o <= limit + 1e-9]
    row, column = similar[np.random.default_rng(seed).integers(len(similar))]
    ranked = sorted(free, key=lambda p: ((p[0] - row) ** 2 + (p[1] - column) ** 2, p))
    placebo = np.zeros_like(region)
    placebo[tuple(np.transpose(ranked[:size]))] = True
    return placebo


@pytest.mark.parametrize("seed", range(20))
def test_compact_takes_the_free_pixels_nearest_to_its_origin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    region, avoid = rng.random((2, *SHAPE)) < [[[0.2]], [[0.3]]]
    expected = nearest_free(region, avoid, seed)
    assert np.array_equal(placed("compact", region, avoid, seed), expected)


def shifts(region: Mask, avoid: Mask) -> list[Mask]:
    """Every place the region can be moved to."""
    rows, columns = np.nonzero(region)
    moved = []
    for down in range(-rows.min(), region.shape[0] - rows.max()):
        for right in range(-columns.min(), region.shape[1] - columns.max()):
            place = np.zeros_like(region)
            place[rows + down, columns + right] = True
            if not (place & (region | avoid)).any():
                moved.append(place)
    return moved


@pytest.mark.parametrize("seed", range(20))
def test_same_shape_is_the_region_moved_wherever_it_can_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    region, avoid = np.zeros((2, *SHAPE), dtype=bool)
    top, left = rng.integers(0, 8, 2)
    region[top : top + 3, left : left + 4] = rng.random((3, 4)) < 0.6
    region[top, left] = True
    avoid[rng.integers(12), :] = avoid[:, rng.integers(15)] = True
    possible = {place.tobytes() for place in shifts(region, avoid)}
    places = {placed("same-shape", region, avoid, s).tobytes() for s in range(30)}
    assert possible
    assert places <= possible
    assert len(places) > 1 or len(possible) < 20


def test_same_shape_is_compact_where_the_region_cannot_be_moved() -> None:
    region = np.zeros(SHAPE, dtype=bool)
    region[2, :] = True
    region[:, 2] = True
    placebo = placed("same-shape", region, np.zeros_like(region), 5)
    assert np.array_equal(placebo, placed("compact", region, np.zeros_like(region), 5))
