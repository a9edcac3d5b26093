"""Boxes and crops against rectangles and ramps whose answers are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audit.attention.averages import SURROUNDINGS, boxes, crops, densities, equal_clusters

START, LENGTH = st.integers(0, 5), st.integers(1, 4)


@given(START, LENGTH, START, LENGTH)
def test_the_box_of_full_cells_is_their_rectangle(
    top: int, high: int, left: int, wide: int
) -> None:
    mask = np.zeros((1, 10, 10))
    mask[0, top : top + high, left : left + wide] = 0.7
    wanted = [[top, top + high], [left, left + wide]]
    np.testing.assert_allclose(boxes(mask)[0], wanted, atol=1e-9)


def test_a_crop_reads_a_ramp_at_the_places_of_the_box_and_its_surroundings() -> None:
    rows, columns = np.mgrid[:12, :12] + 0.5
    box = np.array([[[4.0, 8.0], [5.0, 7.0]]])
    values, inside = crops((10 * rows + columns)[None], box, 8)
    steps = SURROUNDINGS * ((np.arange(8) + 0.5) / 8 - 0.5)
    wanted = 10 * (6 + 4 * steps)[:, None] + (6 + 2 * steps)[None]
    np.testing.assert_allclose(values[0], wanted)
    assert inside.all()


def test_a_cue_that_moves_with_its_region_stays_in_place() -> None:
    rng = np.random.default_rng(0)
    cue = rng.uniform(size=(4, 4))
    maps, masks = np.zeros((2, 2, 14, 14))
    for one, (row, column) in enumerate([(3, 4), (7, 6)]):
        maps[one, row : row + 4, column : column + 4] = cue
        masks[one, row + 1 : row + 3, column + 1 : column + 3] = 1
    values, _ = crops(maps, boxes(masks), 10)
    np.testing.assert_allclose(values[0], values[1])
    assert values.any()


def test_places_beyond_the_picture_are_told() -> None:
    corner = np.zeros((1, 8, 8))
    corner[0, :2, :2] = 1
    values, inside = crops(np.ones((1, 8, 8)), boxes(corner), 4)
    expected = np.outer([False, True, True, True], [False, True, True, True])
    assert (inside[0] == expected).all()
    assert (values[0] == expected).all()


def test_densities_have_mean_one_and_dead_maps_none() -> None:
    maps = np.stack([np.full((3, 3), 1e-30), np.full((3, 3), -2.0)])
    np.testing.assert_allclose(densities(maps).mean((1, 2)), [1, 0])


def test_weights_of_a_group_sum_to_its_clusters() -> None:
    rng = np.random.default_rng(1)
    groups, clusters = rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    weights = equal_clusters(groups, clusters)
    for group in range(3):
        assert np.isclose(weights[groups == group].sum(), len(set(clusters[groups == group])))
