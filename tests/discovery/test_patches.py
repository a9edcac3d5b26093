"""The patch of a map against a loop over cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.discovery.features import chosen_samples, read_features
from audit.discovery.patches import LARGEST, PATCH, patch_of, remove_patches
from tests.discovery import tagged
from tests.evidence.planted import some_examples


@some_examples
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_a_patch_is_the_strongest_cells(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    grid = rng.permutation(height * width).reshape(1, height, width).astype(np.float32)
    patch = patch_of(torch.from_numpy(grid), (3 * height, 3 * width))[0].numpy()
    ranked = np.sort(grid.ravel())[::-1]
    most = max(1, int(LARGEST * grid.size))
    for y in range(height):
        for x in range(width):
            wanted = ranked[0] > 0 and (
                grid[0, y, x] >= PATCH * ranked[0] and grid[0, y, x] >= ranked[most - 1]
            )
            assert (patch[3 * y : 3 * y + 3, 3 * x : 3 * x + 3] == wanted).all()


def test_a_dead_map_has_no_patch() -> None:
    assert not patch_of(torch.zeros(2, 4, 4), (8, 8)).any()


def test_overlap_and_area_are_those_of_the_masks(tmp_path: Path) -> None:
    context = tagged.context_of(
        tagged.write_tagged(tmp_path, count=20), tagged.relies_on_the_object()
    )
    features = read_features(context, chosen_samples(context))
    members = np.flatnonzero(features.live)
    outcomes = remove_patches(context, features, members)
    size = (tagged.SIDE, tagged.SIDE)
    for i, member in enumerate(members):
        patch = patch_of(torch.from_numpy(features.maps[[member]]), size)[0].numpy()
        masks = context.dataset.load(int(features.positions[member])).masks
        assert outcomes.area[i] == np.float32(patch.mean())
        np.testing.assert_allclose(outcomes.overlap[i], [m[patch].mean() for m in masks], atol=1e-5)
        np.testing.assert_allclose(outcomes.elsewhere[i], (~masks.any(0))[patch].mean(), atol=1e-5)
    assert outcomes.fits.all()
    assert np.isfinite(outcomes.margin).all()
