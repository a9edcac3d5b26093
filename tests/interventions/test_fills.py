from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from audit.config import FillName
from audit.errors import ConfigError
from audit.interventions import FILLS, check_fills, fill
from audit.interventions.fills import fill_versions, registry
from audit.interventions.fills.smooth import blurred


def _images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def _masks() -> torch.Tensor:
    masks = torch.zeros(3, 32, 40, dtype=torch.bool)
    masks[0, 5:15, 8:20] = True
    masks[1, 0:6, 0:6] = True
    masks[2] = True
    return masks


@pytest.mark.parametrize("name", sorted(FILLS))
class TestEveryFill:
    def test_changes_the_area_and_nothing_else(self, name: str) -> None:
        images, masks = _images(), _masks()
        filled = fill(name, images, masks, [1, 2, 3])
        outside = ~masks[:, None].expand_as(images)
        assert torch.equal(filled[outside], images[outside])
        inside = masks[0]
        assert (filled[0, :, inside] != images[0, :, inside]).float().mean() > 0.9

    def test_leaves_its_input_alone(self, name: str) -> None:
        images = _images()
        before = images.clone()
        fill(name, images, _masks(), [1, 2, 3])
        assert torch.equal(images, before)

    def test_is_deterministic_per_seed_and_batch_independent(self, name: str) -> None:
        images, masks = _images(), _masks()
        together = fill(name, images, masks, [1, 2, 3])
        alone = torch.cat(
            [fill(name, images[i : i + 1], masks[i : i + 1], [i + 1]) for i in range(3)]
        )
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
        assert torch.equal(together, fill(name, images, masks, [1, 2, 3]))

    def test_stays_finite_and_in_range(self, name: str) -> None:
        filled = fill(name, _images(), _masks(), [1, 2, 3])
        assert torch.isfinite(filled).all()
        assert filled.min() >= -1e-6
        assert filled.max() <= 1 + 1e-6

    def test_nothing_masked_nothing_changed(self, name: str) -> None:
        images = _images()
        none = torch.zeros(3, 32, 40, dtype=torch.bool)
        assert torch.equal(fill(name, images, none, [1, 2, 3]), images)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_keeps_the_type_of_the_pictures(self, name: str, dtype: torch.dtype) -> None:
        filled = fill(name, _images().to(dtype), _masks(), [1, 2, 3])
        assert filled.dtype == dtype
        single = fill(name, _images(), _masks(), [1, 2, 3])
        torch.testing.assert_close(filled, single.to(dtype), rtol=0, atol=1e-5)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_is_the_same_on_another_device(self, name: str) -> None:
        there = fill(name, _images().cuda(), _masks().cuda(), [1, 2, 3])
        assert there.is_cuda
        here = fill(name, _images(), _masks(), [1, 2, 3])
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-4)

    def test_nothing_of_the_area_remains_where_so_said(self, name: str) -> None:
        images, masks = _images(), _masks()
        other = torch.where(masks[:, None], 1 - images, images)
        filled = (fill(name, pictures, masks, [1, 2, 3]) for pictures in (images, other))
        assert torch.equal(*filled) != FILLS[name].keeps_colours


def test_the_configuration_knows_them_all() -> None:
    assert sorted(get_args(FillName)) == sorted(FILLS)


def test_a_fill_without_its_library_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda module: None)
    check_fills(["blur", "local-mean"])
    with pytest.raises(ConfigError, match=r"'inpaint' needs .*; pip install 'cuecheck\[inpaint\]'"):
        check_fills(["blur", "inpaint"])


def test_versions_are_of_what_the_fills_need_alone() -> None:
    assert fill_versions(["blur", "noise"]) == {}
    assert set(fill_versions(["blur", "inpaint"])) == {"cv2"}


def test_inpaint_takes_nothing_from_beyond_an_edge() -> None:
    """A hole in the dark near a light half: the local mean takes some of the light."""
    rows, columns = np.mgrid[:48, :48]
    picture = np.where(columns < 24, 0.2, 0.8) * 0.8 + rows / 47 * 0.2
    images = torch.from_numpy(np.stack([picture] * 3)[None]).float()
    masks = torch.zeros(1, 48, 48, dtype=torch.bool)
    masks[0, 18:30, 10:20] = True
    inpainted, mean = (
        (fill(name, images, masks, [0]) - images)[:, :, masks[0]].abs().mean()
        for name in ("inpaint", "local-mean")
    )
    assert inpainted < mean / 4


def test_local_mean_continues_a_constant_surrounding() -> None:
    images = torch.full((1, 3, 32, 32), 0.3)
    masks = torch.zeros(1, 32, 32, dtype=torch.bool)
    masks[0, 10:20, 10:20] = True
    images[:, :, 10:20, 10:20] = 0.9
    filled = fill("local-mean", images, masks, [0])
    torch.testing.assert_close(filled, torch.full_like(filled, 0.3), rtol=0, atol=1e-5)


def test_blur_equals_the_weighted_mean_of_every_pixel() -> None:
    images = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(0)).double()
    sigma = 0.08 * 9
    expected = torch.zeros_like(images)
    for i in range(9):
        for j in range(12):
            total = 0.0
            for k in range(9):
                for m in range(12):
                    weight = math.exp(-((i - k) ** 2 + (j - m) ** 2) / (2 * sigma**2))
                    expected[..., i, j] += weight * images[..., k, m]
                    total += weight
            expected[..., i, j] /= total
    everywhere = torch.ones(1, 9, 12, dtype=torch.bool)
    torch.testing.assert_close(
        fill("blur", images, everywhere, [0]), expected, rtol=1e-6, atol=1e-6
    )


def test_a_blur_first_made_for_inference_can_be_gone_back_through() -> None:
    images = torch.rand(1, 3, 17, 23, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = blurred(images)
    images.requires_grad_()
    after = blurred(images)
    (gradient,) = torch.autograd.grad(after.sum(), images)
    assert torch.equal(before, after)
    assert gradient.sum() == pytest.approx(3 * 17 * 23, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_blur_has_the_precision_of_its_pictures(dtype: torch.dtype) -> None:
    assert blurred(torch.ones(1, 3, 17, 23, dtype=dtype)).dtype == dtype
