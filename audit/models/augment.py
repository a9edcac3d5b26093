"""Random changes of training pictures, on whole batches of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from audit.config import Augment


def augment(
    images: Tensor, painted: Tensor | None, settings: Augment, generator: torch.Generator
) -> Tensor:
    """Paint, then move, then recolour a batch.

    Parameters
    ----------
    images
        uint8 ``[B, 3, h, w]``.
    painted
        bool ``[B, h, w]``: the pixels of ``settings.paint_regions``; None paints nothing.
    settings
        How large the changes may be.
    generator
        A generator on the CPU, so that every device draws the same numbers.

    Returns
    -------
    float32 ``[B, 3, h, w]`` in 0..1.
    """
    pixels = images.float() / 255
    if painted is not None:
        pixels = paint(pixels, painted, settings.paint_probability, generator)
    pixels = warp(pixels, random_affine(len(pixels), settings, generator))
    return recolour(pixels, settings.colour, generator)


def paint(
    images: Tensor, painted: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """Fill the painted pixels with one random colour per picture, in a part of the pictures.

    A model trained so cannot use what the region shows, only its outline.
    """
    chosen = _uniform((len(images), 1, 1, 1), generator, images) < probability
    colours = _uniform((len(images), 3, 1, 1), generator, images)
    return torch.where(chosen & painted[:, None], colours, images)


def random_affine(n: int, settings: Augment, generator: torch.Generator) -> Tensor:
    """Maps ``[n, 2, 3]`` from output to input coordinates in -1..1: mirror, scale and shift."""
    mirror = torch.ones(n)
    if settings.flip:
        mirror -= 2 * (torch.rand(n, generator=generator) < 0.5)
    scale = 1 + settings.scale * _symmetric((n,), generator)
    shift = 2 * settings.shift * _symmetric((n, 2), generator)  # the side is 2 long
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = mirror / scale
    theta[:, 1, 1] = 1 / scale
    theta[:, :, 2] = shift
    return theta


def warp(images: Tensor, theta: Tensor) -> Tensor:
    """Images ``[B, C, h, w]`` under affine maps ``[B, 2, 3]``; reflected at the border."""
    grid = affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness (factor) and contrast (about the picture's mean) by up to ``strength``."""
    shape = (len(images), 1, 1, 1)
    brightness = 1 + strength * _symmetric(shape, generator).to(images)
    contrast = 1 + strength * _symmetric(shape, generator).to(images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (brightness * (mean + contrast * (images - mean))).clamp(0, 1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(shape, generator=generator).to(like)


def _symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1
