from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audit.attention import measure
from audit.geometry import coverage_to_grid
from tests.oracles import attention as oracle

GRIDS = hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7)


@given(st.data(), GRIDS)
def test_measures_equal_the_loops(data: st.DataObject, grid: tuple[int, int]) -> None:
    raw = data.draw(hnp.arrays(np.float32, grid, elements=st.floats(-3, 3, width=32)))
    mask = data.draw(hnp.arrays(np.float32, grid, elements=st.sampled_from([0, 0.25, 0.5, 1])))
    found = measure(torch.from_numpy(raw)[None], torch.from_numpy(mask)[None, None])
    wide, mask64 = raw.astype(np.float64), mask.astype(np.float64)
    for name in ("share", "rho", "pointing"):
        expected = getattr(oracle, name)(wide, mask64)
        assert float(getattr(found, name)) == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert bool(found.dead) == (not (wide > 0).any())
    assert float(found.area) == pytest.approx(mask64.mean(), rel=1e-6)


@given(st.data(), GRIDS)
def test_shares_of_a_partition_sum_to_one(data: st.DataObject, grid: tuple[int, int]) -> None:
    raw = data.draw(hnp.arrays(np.float32, grid, elements=st.floats(0, 3, width=32)))
    codes = data.draw(hnp.arrays(np.int64, grid, elements=st.integers(0, 3)))
    masks = torch.from_numpy(np.stack([codes == k for k in range(4)]).astype(np.float32))
    found = measure(torch.from_numpy(raw)[None], masks[None])
    if not bool(found.dead):
        assert float(found.share.sum()) == pytest.approx(1, abs=1e-5)


@given(st.data(), GRIDS, st.sampled_from([1e-43, 1e-40, 1e-30, 1e30, 3e38]))
def test_scale_of_the_map_does_not_matter(
    data: st.DataObject, grid: tuple[int, int], scale: float
) -> None:
    units = data.draw(hnp.arrays(np.float64, grid, elements=st.sampled_from([-1, 0, 0.5, 1])))
    raw = (units * scale).astype(np.float32)
    mask = data.draw(hnp.arrays(np.float32, grid, elements=st.sampled_from([0, 0.25, 0.5, 1])))
    found = measure(torch.from_numpy(raw)[None], torch.from_numpy(mask)[None, None])
    wide, mask64 = raw.astype(np.float64), mask.astype(np.float64)
    for name in ("share", "rho", "pointing"):
        expected = getattr(oracle, name)(wide, mask64)
        assert float(getattr(found, name)) == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert bool(found.dead) == (not (wide > 0).any())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_map_that_is_not_finite_is_neither_dead_nor_measured(value: float) -> None:
    maps = -torch.ones(3, 4, 4)
    maps[1, 2, 2] = value
    with pytest.raises(ValueError, match="1 of 3 maps is not finite"):
        measure(maps, torch.ones(3, 1, 4, 4))


@pytest.mark.parametrize(("side", "cells"), [(96, 7), (112, 5), (224, 3), (224, 6), (97, 7)])
def test_region_of_two_cells_is_measurable_however_it_is_rounded(side: int, cells: int) -> None:
    cell = side / cells
    for first in range(cells - 1):
        edges = np.clip(np.arange(side + 1), first * cell, (first + 2) * cell)
        rows = np.diff(edges)
        columns = np.diff(np.clip(np.arange(side + 1), 0, cell))
        coverage = torch.from_numpy(np.outer(rows, columns)).float()[None, None]
        pooled = coverage_to_grid(coverage, (cells, cells))
        assert measure(torch.ones(1, cells, cells), pooled).measurable.all()
        assert not measure(torch.ones(1, cells, cells), 0.99 * pooled).measurable.any()


def test_dead_map_is_missing_not_zero() -> None:
    found = measure(-torch.ones(1, 3, 3), torch.ones(1, 2, 3, 3))
    assert found.dead.all()
    assert found.share.isnan().all()
    assert found.rho.isnan().all()
    assert found.pointing.isnan().all()


def test_one_weak_cell_among_strong_negative_ones_is_not_dead() -> None:
    maps = torch.full((1, 5, 5), -100.0)
    maps[0, 2, 2] = 1e-3
    assert not measure(maps, torch.ones(1, 1, 5, 5)).dead.any()


def test_flat_map_has_the_share_of_the_area_and_fractional_credit() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, :] = 1
    found = measure(torch.full((1, 4, 4), 0.7), mask)
    assert float(found.share) == pytest.approx(0.25)
    assert float(found.pointing) == pytest.approx(0.25)
    assert float(found.rho) == pytest.approx(1)


def test_scale_does_not_matter_and_negative_mass_does_not_count() -> None:
    raw = torch.randn(5, 7, 7, generator=torch.Generator().manual_seed(0))
    masks = (torch.rand(5, 3, 7, 7, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    once, thrice = measure(raw, masks), measure(3 * raw, masks)
    clipped = measure(raw.clamp(min=0), masks)
    torch.testing.assert_close(once.share, thrice.share)
    torch.testing.assert_close(once.share, clipped.share, rtol=0, atol=0)


def test_region_below_two_cells_is_not_measurable() -> None:
    masks = torch.zeros(1, 2, 4, 4)
    masks[0, 0, 0, 0] = 1
    masks[0, 1, 0, :2] = 1
    assert measure(torch.ones(1, 4, 4), masks).measurable.tolist() == [[False, True]]


def test_disagreeing_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"maps \(2, 4, 4\).*masks \(3, 1, 4, 4\)"):
        measure(torch.ones(2, 4, 4), torch.ones(3, 1, 4, 4))
