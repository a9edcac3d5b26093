"""Augmentation against closed forms, and what it must leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audit.config import Augment
from audit.models.augment import augment, paint, random_affine, recolour, warp

NOTHING = Augment(flip=False, shift=0, scale=0, colour=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 3, height: int = 12, width: int = 16) -> Tensor:
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=seeded(9))


def corner(n: int = 3, height: int = 12, width: int = 16) -> Tensor:
    region = torch.zeros(n, height, width, dtype=torch.bool)
    region[:, :5, :7] = True
    return region


def affine(n: int, mirror: float = 1.0, shift: tuple[float, float] = (0, 0)) -> Tensor:
    theta = [[mirror, 0, shift[0]], [0, 1, shift[1]]]
    return torch.tensor(theta, dtype=torch.float64).expand(n, 2, 3)


def test_without_changes_a_picture_stays() -> None:
    result = augment(pictures(), None, NOTHING, seeded())
    torch.testing.assert_close(result, pictures().float() / 255, rtol=0, atol=1e-5)


def test_mirroring_is_a_flip() -> None:
    images = pictures().double()
    torch.testing.assert_close(warp(images, affine(3, mirror=-1)), images.flip(3))


def test_shift_by_whole_pixels_moves_pixels() -> None:
    images = pictures().double()
    moved = warp(images, affine(3, shift=(2 * 3 / 16, 2 * -2 / 12)))  # 3 columns, -2 rows
    torch.testing.assert_close(moved[:, :, 2:, :-3], images[:, :, :-2, 3:])


def test_halved_scale_shows_the_centre_twice_as_large() -> None:
    ramp = (torch.arange(16, dtype=torch.float64) + 0.5 - 8).expand(1, 1, 12, 16)
    theta = torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]])
    torch.testing.assert_close(warp(ramp, theta), ramp / 2)


def test_changes_stay_within_the_settings() -> None:
    settings = Augment(flip=True, shift=0.2, scale=0.3)
    theta = random_affine(2000, settings, seeded()).double()
    assert set(theta[:, 0, 0].sign().tolist()) == {-1.0, 1.0}
    assert abs((theta[:, 0, 0] < 0).double().mean().item() - 0.5) < 0.05
    scale = 1 / theta[:, 1, 1]
    torch.testing.assert_close(theta[:, 0, 0].abs(), 1 / scale)
    assert 0.7 <= scale.min() < 0.71 and 1.29 < scale.max() <= 1.3
    shift = theta[:, :, 2].abs()  # in half sides
    assert 0.39 < shift.max() <= 0.4
    assert not theta[:, 0, 1].any() and not theta[:, 1, 0].any()


def test_painting_touches_the_region_only_and_in_one_colour() -> None:
    images, region = pictures().float() / 255, corner()
    painted = paint(images, region, 1.0, seeded())
    outside = ~region[:, None].expand_as(images)
    assert torch.equal(painted[outside], images[outside])
    inside = painted[:, :, :5, :7]
    assert torch.equal(inside, inside[:, :, :1, :1].expand_as(inside))
    assert len({tuple(colour) for colour in inside[:, :, 0, 0].tolist()}) == 3


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_painting_happens_as_often_as_asked(probability: float) -> None:
    images = torch.full((3000, 3, 2, 2), 2.0)
    region = torch.ones(3000, 2, 2, dtype=torch.bool)
    changed = (paint(images, region, probability, seeded()) != images).flatten(1).any(1)
    assert abs(changed.float().mean().item() - probability) < 0.03


def test_painted_region_moves_with_the_picture() -> None:
    """Painting, then moving, equals moving picture and mask apart and painting after."""
    settings = Augment(shift=0.2, scale=0.2, colour=0, paint_regions=["x"], paint_probability=1)
    black, region = torch.zeros(8, 3, 12, 16, dtype=torch.uint8), corner(8)
    moved = augment(black, region, settings, seeded())
    generator = seeded()
    colours = paint(torch.zeros(8, 3, 1, 1), torch.ones(8, 1, 1).bool(), 1.0, generator)
    mask = warp(region[:, None].float(), random_affine(8, settings, generator))
    torch.testing.assert_close(moved, colours * mask)
    assert 0 < mask.mean() < 1


def test_recolouring_scales_brightness_and_contrast() -> None:
    images = 0.4 + 0.2 * torch.rand(50, 3, 8, 8, dtype=torch.float64, generator=seeded())
    result = recolour(images, 0.1, seeded(4))
    brightness = result.mean((1, 2, 3)) / images.mean((1, 2, 3))
    contrast = result.std((1, 2, 3)) / images.std((1, 2, 3)) / brightness
    for change in (brightness, contrast):
        assert 0.9 <= change.min() < 0.93 and 1.07 < change.max() <= 1.1
    assert recolour(torch.full((9, 3, 2, 2), 0.99), 1.0, seeded()).max() <= 1


def test_the_same_seed_gives_the_same_pictures() -> None:
    settings = Augment(paint_regions=["x"])
    first, again, other = (
        augment(pictures(), corner(), settings, seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
