"""The contract between picture, mask, crop and grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from audit.config import Input
from audit.geometry import (
    area_weights,
    coverage_to_grid,
    masks_to_input,
    picture_to_input,
    view_of,
)

steady = settings(deadline=None, derandomize=True)

SIDES = st.integers(2, 24)
CONFIGS = st.one_of(
    st.builds(lambda h, w: Input(size=(h, w)), SIDES, SIDES),
    st.builds(
        lambda side, more: Input(size=(side, side), resize="crop", shorter_side=side + more),
        SIDES,
        st.integers(0, 8),
    ),
)


@st.composite
def masks_and_configs(draw, regions=1):
    shape = (regions, draw(SIDES), draw(SIDES))
    return draw(arrays.arrays(np.bool_, shape)), draw(CONFIGS)


def to_input(masks, config):
    return masks_to_input(masks, view_of(masks.shape[1:], config))


@steady
@given(
    pixels=st.integers(1, 30),
    bins=st.integers(1, 12),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda e: abs(e[0] - e[1]) > 0.05),
)
def test_area_weights_agree_with_supersampling(pixels, bins, ends):
    start, stop = sorted(end * pixels for end in ends)
    points = 4000
    expected = np.zeros((bins, pixels))
    for index in range(bins):
        places = start + (stop - start) * (index + (np.arange(points) + 0.5) / points) / bins
        inside = np.minimum(places.astype(int), pixels - 1)
        expected[index] = np.bincount(inside, minlength=pixels) / points

    weights = area_weights(pixels, start, stop, bins)

    np.testing.assert_allclose(weights, expected, atol=2 / points)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


@steady
@given(masks_and_configs())
def test_coverage_keeps_the_area_of_a_region_in_view(case):
    masks, config = case
    view = view_of(masks.shape[1:], config)
    top, left, bottom, right = view.box
    height, width = view.source
    rows = np.clip(np.minimum(np.arange(height) + 1, bottom) - np.maximum(range(height), top), 0, 1)
    columns = np.clip(
        np.minimum(np.arange(width) + 1, right) - np.maximum(range(width), left), 0, 1
    )
    seen = (masks[0] * rows[:, None] * columns[None, :]).sum()

    coverage = masks_to_input(masks, view)

    pixel = (bottom - top) * (right - left) / (view.size[0] * view.size[1])
    assert coverage.sum(dtype=np.float64) * pixel == pytest.approx(seen, abs=1e-3)
    assert coverage.dtype == np.float32
    assert coverage.min() >= 0
    assert coverage.max() <= 1 + 1e-5


@steady
@given(masks_and_configs(regions=3))
def test_a_partition_of_the_picture_covers_every_pixel_once(case):
    masks, config = case
    first = masks[0]
    partition = np.stack([first, ~first & masks[1], ~first & ~masks[1]])

    total = to_input(partition, config).sum(axis=0)

    np.testing.assert_allclose(total, 1, atol=1e-5)


@steady
@given(masks_and_configs())
def test_a_mirrored_mask_gives_the_mirrored_coverage(case):
    masks, config = case
    coverage = to_input(masks, config)
    np.testing.assert_allclose(to_input(masks[:, :, ::-1], config), coverage[:, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(to_input(masks[:, ::-1], config), coverage[:, ::-1], atol=1e-5)


@steady
@given(masks_and_configs(), SIDES, SIDES)
def test_pooling_to_a_grid_keeps_the_mean_and_is_a_mean_over_the_cell(case, rows, columns):
    coverage = torch.from_numpy(to_input(*case)).double()
    height, width = coverage.shape[1:]

    pooled = coverage_to_grid(coverage, (rows, columns))

    assert pooled.shape == (1, rows, columns)
    torch.testing.assert_close(pooled.mean(), coverage.mean(), atol=1e-6, rtol=0)
    # Every pixel cut into rows x columns equal pieces: then a cell is a whole number of pieces.
    pieces = coverage.repeat_interleave(rows, 1).repeat_interleave(columns, 2)
    blocks = pieces.reshape(1, rows, height, columns, width)
    torch.testing.assert_close(pooled, blocks.mean(dim=(2, 4)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("source", [(60, 90), (90, 60), (80, 80)])
@pytest.mark.parametrize("size", [(32, 48), (48, 32), (40, 40)])
@pytest.mark.parametrize("quadrant", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_an_off_centre_square_stays_in_its_quadrant(source, size, quadrant):
    mask = np.zeros((1, *source), dtype=bool)
    top, left = (
        int(side * (0.6 if far else 0.1)) for side, far in zip(source, quadrant, strict=True)
    )
    mask[0, top : top + 15, left : left + 15] = True

    coverage = torch.from_numpy(to_input(mask, Input(size=size)))
    grid = coverage_to_grid(coverage, (2, 2))[0].numpy()

    assert np.unravel_index(grid.argmax(), grid.shape) == quadrant
    assert np.delete(grid.ravel(), quadrant[0] * 2 + quadrant[1]).max() == 0


@pytest.mark.parametrize(
    "config",
    [
        Input(size=(56, 56), resize="crop", shorter_side=64),
        Input(size=(32, 40), resize="stretch"),
        Input(size=(224, 224), resize="crop", shorter_side=256),
    ],
)
@pytest.mark.parametrize("source", [(100, 160), (160, 100), (64, 64)])
def test_picture_and_mask_stay_aligned(config, source):
    mask = np.zeros(source, dtype=bool)
    mask[30:52, 22:40] = True
    picture = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    view = view_of(source, config)

    shown = picture_to_input(picture, view)[..., 0] / 255
    covered = masks_to_input(mask[None], view)[0]

    assert shown.shape == covered.shape == config.size
    np.testing.assert_allclose(_centre(shown), _centre(covered), atol=0.25)
    assert np.corrcoef(shown.ravel(), covered.ravel())[0, 1] > 0.9


def _centre(image):
    y, x = np.indices(image.shape)
    return (y * image).sum() / image.sum(), (x * image).sum() / image.sum()


def test_crop_is_resizing_the_shorter_side_and_cutting_the_centre_out():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (100, 200, 3), dtype=np.uint8)
    config = Input(size=(56, 56), resize="crop", shorter_side=64)
    resized = Image.fromarray(picture).resize((128, 64), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((36, 4, 92, 60))).astype(int)

    got = picture_to_input(picture, view_of((100, 200), config)).astype(int)

    # At the border the cut picture has no neighbours to blend with.
    np.testing.assert_allclose(got[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1)


@steady
@given(
    source=st.tuples(st.integers(16, 3000), st.integers(16, 3000)),
    size=st.tuples(st.integers(16, 400), st.integers(16, 400)),
    more=st.none() | st.integers(0, 200),
)
@example(source=(317, 400), size=(19, 19), more=None)
def test_a_crop_lies_in_the_picture(source, size, more):
    shorter = None if more is None else max(size) + more
    view = view_of(source, Input(size=size, resize="crop", shorter_side=shorter))
    top, left, bottom, right = view.box

    assert 0 <= top < bottom <= source[0]
    assert 0 <= left < right <= source[1]
    picture = np.zeros((*source, 3), dtype=np.uint8)
    assert picture_to_input(picture, view).shape == (*size, 3)


def test_a_grid_as_fine_as_the_coverage_changes_nothing():
    coverage = torch.rand(2, 3, 5, 7)
    assert coverage_to_grid(coverage, (5, 7)) is coverage


def test_pooling_keeps_the_type():
    assert coverage_to_grid(torch.rand(1, 4, 4, dtype=torch.float64), (2, 2)).dtype == torch.float64
