from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audit.interventions import placebo_mask

SHAPE = (12, 15)
MASKS = hnp.arrays(bool, SHAPE)


@given(MASKS, MASKS, st.integers(0, 2**40))
def test_equal_area_elsewhere_or_none_when_it_cannot_fit(
    region: np.ndarray, avoid: np.ndarray, seed: int
) -> None:
    placebo = placebo_mask(region, avoid, seed)
    room = int((~(region | avoid)).sum())
    if placebo is None:
        assert region.sum() == 0 or room < region.sum()
        return
    assert placebo.sum() == region.sum()
    assert not (placebo & (region | avoid)).any()


def test_same_seed_same_place_other_seeds_other_places() -> None:
    region = np.zeros((40, 40), dtype=bool)
    region[4:10, 16:24] = True
    avoid = np.zeros_like(region)
    places = [placebo_mask(region, avoid, seed) for seed in range(8)]
    again = placebo_mask(region, avoid, 0)
    assert places[0] is not None
    assert again is not None
    assert np.array_equal(places[0], again)
    assert len({p.tobytes() for p in places if p is not None}) > 4


@pytest.mark.parametrize(("top", "off"), [(2, 5), (17, 7), (32, 5)])  # the centre itself is taken
def test_lies_about_as_far_from_the_centre(top: int, off: float) -> None:
    region = np.zeros((40, 40), dtype=bool)
    region[top : top + 6, 17:23] = True

    def distance(mask: np.ndarray) -> float:
        rows, columns = np.nonzero(mask)
        return float(np.hypot(rows - 19.5, columns - 19.5).mean())

    for seed in range(10):
        placebo = placebo_mask(region, np.zeros_like(region), seed)
        assert placebo is not None
        assert abs(distance(placebo) - distance(region)) < off


def test_is_compact_where_there_is_room() -> None:
    region = np.zeros((60, 60), dtype=bool)
    region[5:15, 25:35] = True
    placebo = placebo_mask(region, np.zeros_like(region), 3)
    assert placebo is not None
    rows, columns = np.nonzero(placebo)
    assert np.hypot(rows - rows.mean(), columns - columns.mean()).max() < 20
