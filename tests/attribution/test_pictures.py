from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from audit.attribution import display, upsample

SIDES = st.integers(1, 9)


@given(st.floats(1e-30, 1e30), SIDES, SIDES)
def test_constant_positive_map_is_ones(value: float, height: int, width: int) -> None:
    maps = torch.full((2, height, width), value)
    assert_close(display(maps, (24, 17)), torch.ones(2, 24, 17))


def test_dead_map_is_zeros() -> None:
    maps = torch.stack([-torch.rand(4, 4), torch.zeros(4, 4)])
    assert_close(display(maps, (8, 8)), torch.zeros(2, 8, 8), rtol=0, atol=0)


def test_one_weak_cell_among_strong_negative_ones_is_seen() -> None:
    maps = torch.full((1, 5, 5), -100.0)
    maps[0, 2, 2] = 1e-3
    assert display(maps, (20, 20)).max() == 1


def test_ratio_of_floor_to_peak_is_kept() -> None:
    picture = display(torch.tensor([[0.5, 0.5], [0.5, 1.0]]), (64, 64))
    assert picture.max() == 1 and picture.min() == 0.5


@pytest.mark.parametrize("size", [(56, 56), (224, 224), (70, 35)])
def test_impulse_stays_centred(size: tuple[int, int]) -> None:
    for row, column in [(3, 3), (2, 4), (1, 3)]:
        maps = torch.zeros(7, 7, dtype=torch.float64)
        maps[row, column] = 1
        picture = upsample(maps, size)
        rows = torch.arange(size[0]) + 0.5
        columns = torch.arange(size[1]) + 0.5
        centre = (picture.sum(1) @ rows.double(), picture.sum(0) @ columns.double())
        wanted = ((row + 0.5) * size[0] / 7, (column + 0.5) * size[1] / 7)
        assert_close(torch.stack(centre) / picture.sum(), torch.tensor(wanted, dtype=torch.float64))


def test_leading_dimensions_are_kept() -> None:
    maps = torch.randn(2, 3, 4, 5)
    picture = display(maps, (8, 10))
    assert picture.shape == (2, 3, 8, 10)
    assert_close(picture[1, 2], display(maps[1, 2], (8, 10)))
