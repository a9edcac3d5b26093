"""What pictures are like: against loops, and what a perceptual hash must not notice."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import fft

from audit.data.images import Pixels
from audit.data.properties import border, describe, phash, sharpness


def natural(seed: int, height: int = 120, width: int = 160) -> Pixels:
    """A picture with the falling spectrum of natural ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / width
    picture = np.full((height, width, 3), 128.0)
    for wave in range(1, 12):
        (fy, fx), phase = rng.normal(0, wave, 2), rng.uniform(0, 2 * np.pi)
        colour = rng.uniform(0.6, 1, 3)
        picture += (50 / wave * np.sin(2 * np.pi * (fy * y + fx * x) + phase))[..., None] * colour
    return picture.clip(0, 255).astype(np.uint8)


def distance(first: Pixels, second: Pixels) -> int:
    return (describe(first).phash ^ describe(second).phash).bit_count()


@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(3, 9))
@settings(max_examples=25, deadline=None)
def test_sharpness_is_the_variance_of_the_laplacian(seed: int, height: int, width: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    g = grey.astype(np.float64)
    values = [
        g[y - 1, x] + g[y + 1, x] + g[y, x - 1] + g[y, x + 1] - 4 * g[y, x]
        for y in range(1, height - 1)
        for x in range(1, width - 1)
    ]
    assert sharpness(grey) == pytest.approx(np.var(values), rel=1e-5, abs=1e-3)


def test_blur_and_dimming_are_measured_as_such() -> None:
    picture = natural(0)
    blurred = np.asarray(Image.fromarray(picture).resize((40, 30)).resize((160, 120)))
    assert describe(blurred).sharpness < describe(picture).sharpness
    dimmed = describe((picture * 0.5).astype(np.uint8))
    assert dimmed.brightness == pytest.approx(describe(picture).brightness / 2, abs=0.01)
    assert dimmed.contrast == pytest.approx(describe(picture).contrast / 2, abs=0.01)


@pytest.mark.parametrize(
    ("top", "bottom", "left", "right"), [(0, 0, 0, 0), (3, 3, 5, 5), (10, 20, 0, 0), (0, 0, 1, 7)]
)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_border_is_the_part_in_frame_or_bars(
    top: int, bottom: int, left: int, right: int, level: int
) -> None:
    inside = np.random.default_rng(1).integers(0, 256, (40, 50), dtype=np.uint8)
    framed = np.pad(inside, ((top, bottom), (left, right)), constant_values=level)
    expected = 1 - inside.size / framed.size
    assert border(framed) == pytest.approx(expected)
    noise = np.random.default_rng(2).integers(0, 4, framed.shape)  # what compression leaves
    assert border(np.clip(framed - noise, 0, 255).astype(np.uint8)) == pytest.approx(expected)


def test_a_blank_picture_is_all_border_and_hashes_the_same_at_any_size() -> None:
    blanks = [np.full((side, side + 3, 3), level, np.uint8) for side, level in ((9, 0), (99, 201))]
    assert [describe(blank).border for blank in blanks] == [1.0, 1.0]
    assert [describe(blank).phash for blank in blanks] == [0, 0]


def test_the_hash_is_which_low_frequencies_are_above_their_median() -> None:
    image = Image.fromarray(natural(3)).convert("L")
    small = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64)
    lowest = np.asarray(fft.dctn(small, norm="ortho"))[:8, :8].ravel()
    middle = sorted(lowest[1:])[31]
    bits = [0, *(int(value > middle) for value in lowest[1:])]
    assert phash(image) == sum(bit << (63 - i) for i, bit in enumerate(bits))


@pytest.mark.parametrize("seed", range(8))
def test_copies_have_nearly_the_same_hash_and_other_pictures_do_not(seed: int) -> None:
    picture = natural(seed)
    image = Image.fromarray(picture)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=60)
    copies = {
        "compressed": np.asarray(Image.open(stored).convert("RGB")),
        "smaller": np.asarray(image.resize((120, 90), Image.Resampling.BICUBIC)),
        "larger": np.asarray(image.resize((320, 240), Image.Resampling.BICUBIC)),
        "dimmed": (picture * 0.8 + 20).astype(np.uint8),
    }
    assert {name: distance(picture, copy) for name, copy in copies.items()} == {
        name: pytest.approx(0, abs=4) for name in copies
    }
    assert distance(picture, natural(seed + 100)) > 12


def test_sizes_are_those_of_the_picture_however_large() -> None:
    large = natural(5, 600, 1100)
    found = describe(large)
    assert (found.width, found.height) == (1100, 600)
    grey = np.asarray(Image.fromarray(large).convert("L"))
    assert found.brightness == pytest.approx(grey.mean() / 255, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (2, 2, 3)])
def test_tiny_pictures_have_properties_too(shape: tuple[int, int, int]) -> None:
    assert np.isfinite(describe(np.full(shape, 7, np.uint8))).all()
