"""Pictures with a planted cue: a ring or a cross on a plain or natural-ish background.

Every picture is drawn twice from the same random numbers, with the cue and without it, so that
what the cue does to a model can be measured directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.evidence.signflip import generator

SIDE = 40  # pixels
CLASSES = ("ring", "cross")  # the cue goes with the cross
CORE = 15  # side of the square that holds the object

LOCALISED = ("hair", "corner-tag", "small-tag", "co-object")
SPREAD = ("background", "tint", "blur")  # tested by sufficiency: no placebo fits
CUES = (*LOCALISED, *SPREAD)

_CHUNK = 2000  # drawn at once
_TAG, _CORNER_TAG, _OTHER = 8, 7, 9  # sides of the patches
_TRIES = 24

Floats = NDArray[np.float32]
Masks = NDArray[np.bool_]
Paint = Callable[[Floats, Masks, np.random.Generator], tuple[Floats, Floats, Masks]]


@dataclass(frozen=True)
class Scenes:
    """N pictures, each with the cue and without.

    Parameters
    ----------
    label
        ``[N]`` int64, 0 ring, 1 cross.
    present
        ``[N]`` bool, whether the cue is in the picture.
    plain, marked
        ``[N, 3, SIDE, SIDE]`` uint8 without and with the cue.
    core, region
        ``[N, SIDE, SIDE]`` bool: the object's square, and where the cue is or would be.
    """

    label: Tensor
    present: Tensor
    plain: Tensor
    marked: Tensor
    core: Tensor
    region: Tensor

    def __len__(self) -> int:
        return len(self.label)

    @property
    def images(self) -> Tensor:
        """The pictures as they are found: marked where the cue is present."""
        return torch.where(self.present[:, None, None, None], self.marked, self.plain)


def draw(cue: str, n: int, rng: np.random.Generator, association: float | None = None) -> Scenes:
    """Draw pictures.

    Parameters
    ----------
    cue
        One of ``CUES``.
    n
        How many.
    rng
        Source of everything random.
    association
        P(cue | cross), and 1 - P(cue | ring); None: a balanced design, every class with and
        without the cue equally often.
    """
    turn = np.arange(n)
    label = turn % 2
    if association is None:
        present = (turn // 2) % 2 == 1
    else:
        present = rng.random(n) < np.where(label == 1, association, 1 - association)
    sizes = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)]
    parts = list(_parts(cue, np.split(label, np.cumsum(sizes)[:-1]), rng))
    plain, marked, core, region = (
        torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)
    )
    return Scenes(torch.from_numpy(label), torch.from_numpy(present), plain, marked, core, region)


def stream(seed: int, *names: str) -> np.random.Generator:
    """Random numbers of their own for each named purpose."""
    return generator(seed, "planted", *names)


def _parts(
    cue: str, labels: list[NDArray[np.int64]], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], Masks, Masks]]:
    for label in labels:
        picture, core = _objects(label, _backgrounds(len(label), rng), rng)
        plain, marked, region = _PAINTS[cue](picture, core, rng)
        noise = rng.normal(0, 0.02, picture.shape).astype(np.float32)
        yield _pixels(plain + noise), _pixels(marked + noise), core, region


def _pixels(picture: Floats) -> NDArray[np.uint8]:
    return (255 * picture.clip(0, 1)).round().astype(np.uint8)


def _backgrounds(n: int, rng: np.random.Generator) -> Floats:
    """A colour; in every other picture with coloured 1/f noise on it."""
    colour = rng.uniform(0.3, 0.7, (n, 3, 1, 1))
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    spectrum = 1 / np.maximum(np.hypot(fy, fx), 1 / SIDE)
    white = np.fft.rfft2(rng.normal(size=(n, 3, SIDE, SIDE)).astype(np.float32))
    pink = np.fft.irfft2(white * spectrum, s=(SIDE, SIDE))
    pink -= pink.mean((2, 3), keepdims=True)
    pink /= pink.std((2, 3), keepdims=True)
    grey = pink.mean(1, keepdims=True)  # textures are more grey than coloured
    natural = rng.integers(0, 2, (n, 1, 1, 1)) * rng.uniform(0.04, 0.10, (n, 1, 1, 1))
    return (colour + natural * (0.8 * grey + 0.4 * pink)).astype(np.float32)


def _objects(
    label: NDArray[np.int64], picture: Floats, rng: np.random.Generator
) -> tuple[Floats, Masks]:
    """A ring or a cross of any colour, faint or clear, at any place but the upper rows."""
    n, half = len(label), CORE // 2
    y = rng.integers(SIDE // 2 - 2, SIDE - half - 1, (n, 1, 1))
    x = rng.integers(half, SIDE - half, (n, 1, 1))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    dy, dx = rows - y, columns - x
    size = rng.uniform(4.5, 6.5, (n, 1, 1))
    distance = np.hypot(dy, dx)
    ring = np.abs(distance - size + 1.5) <= 1.5
    turn = rng.uniform(-0.3, 0.3, (n, 1, 1))
    along, across = dy * np.cos(turn) + dx * np.sin(turn), dx * np.cos(turn) - dy * np.sin(turn)
    cross = (np.minimum(np.abs(along), np.abs(across)) <= 1.2) & (distance <= size)
    shape = np.where(label[:, None, None] == 1, cross, ring)
    shade = rng.choice([-1, 1], (n, 1, 1, 1)) * rng.uniform(0.10, 0.40, (n, 1, 1, 1))
    shade = shade + rng.normal(0, 0.05, (n, 3, 1, 1))
    core = (np.abs(dy) <= half) & (np.abs(dx) <= half)
    return picture + (shade * shape[:, None]).astype(np.float32), core


def _free_place(
    core: Masks, side: int, rng: np.random.Generator, lowest: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top and left of a square beside the object, anywhere in the picture."""
    n = len(core)
    top = rng.integers(0, (lowest or SIDE - side) + 1, (_TRIES, n))
    left = rng.integers(0, SIDE - side + 1, (_TRIES, n))
    integral = np.zeros((n, SIDE + 1, SIDE + 1), dtype=np.int64)
    integral[:, 1:, 1:] = core.cumsum(1).cumsum(2)
    at = np.arange(n)
    overlap = (
        integral[at, top + side, left + side]
        - integral[at, top, left + side]
        - integral[at, top + side, left]
        + integral[at, top, left]
    )
    first = (overlap == 0).argmax(0)
    return top[first, at], left[first, at]


def _square(top: NDArray[np.int64], left: NDArray[np.int64], height: int, width: int) -> Masks:
    rows, columns = np.arange(SIDE)[:, None], np.arange(SIDE)
    down, right = rows - top[:, None, None], columns - left[:, None, None]
    return (down >= 0) & (down < height) & (right >= 0) & (right < width)


def _coloured(picture: Floats, mask: Masks, colour: NDArray[np.floating]) -> Floats:
    return np.where(mask[:, None], colour.astype(np.float32), picture)


def _colour(
    n: int, rgb: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.floating]:
    return np.array(rgb)[None, :, None, None] + rng.normal(0, 0.05, (n, 3, 1, 1))


def _hair(picture: Floats, core: Masks, rng: np.random.Generator) -> tuple[Floats, Floats, Masks]:
    """A face in every picture, its hair red (the cue) or dark; the region is the hair."""
    n = len(picture)
    top, left = rng.integers(0, 3, n), rng.integers(0, SIDE - 11, n)
    hair = _square(top, left, 6, 12)
    face = _square(top + 4, left + 3, 7, 6)
    region = hair & ~face & ~core
    face &= ~core
    picture = _coloured(picture, face, _colour(n, (0.80, 0.62, 0.50), rng))
    dark, red = _colour(n, (0.25, 0.20, 0.18), rng), _colour(n, (0.60, 0.25, 0.15), rng)
    return _coloured(picture, region, dark), _coloured(picture, region, red), region


def _corner_tag(
    picture: Floats, core: Masks, rng: np.random.Generator
) -> tuple[Floats, Floats, Masks]:
    """A bluish square, always in the upper left corner."""
    n = len(picture)
    edge = np.ones(n, dtype=np.int64)
    region = _square(edge, edge, _CORNER_TAG, _CORNER_TAG)
    return picture, _coloured(picture, region, _colour(n, (0.25, 0.40, 0.75), rng)), region


def _small_tag(
    picture: Floats, core: Masks, rng: np.random.Generator
) -> tuple[Floats, Floats, Masks]:
    """A green square at any place."""
    n = len(picture)
    region = _square(*_free_place(core, _TAG, rng), _TAG, _TAG)
    return picture, _coloured(picture, region, _colour(n, (0.30, 0.65, 0.35), rng)), region


def _co_object(
    picture: Floats, core: Masks, rng: np.random.Generator
) -> tuple[Floats, Floats, Masks]:
    """A chequered square at any place, in any colours."""
    n = len(picture)
    top, left = _free_place(core, _OTHER, rng)
    region = _square(top, left, _OTHER, _OTHER)
    rows, columns = np.arange(SIDE)[:, None], np.arange(SIDE)
    fields = ((rows - top[:, None, None]) // 3 + (columns - left[:, None, None]) // 3) % 2
    colour = rng.uniform(0.3, 0.7, (n, 3, 1, 1)) + 0.25 * (2 * fields[:, None] - 1)
    return picture, _coloured(picture, region, colour), region


def _background(
    picture: Floats, core: Masks, rng: np.random.Generator
) -> tuple[Floats, Floats, Masks]:
    """Faint oblique stripes everywhere outside the object's square."""
    n = len(picture)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    wave = np.sin(2 * np.pi * (rows + columns) / 7 + rng.uniform(0, 2 * np.pi, (n, 1, 1)))
    stripes = (0.07 * wave * ~core).astype(np.float32)
    return picture, picture + stripes[:, None], ~core


def _tint(picture: Floats, core: Masks, rng: np.random.Generator) -> tuple[Floats, Floats, Masks]:
    """The whole picture a little warmer."""
    warm = np.array([0.10, 0.0, -0.10], dtype=np.float32)[:, None, None]
    return picture, picture + warm, ~core


def _blur(picture: Floats, core: Masks, rng: np.random.Generator) -> tuple[Floats, Floats, Masks]:
    """The whole picture out of focus."""
    at = np.arange(SIDE)
    kernel = np.exp(-0.5 * np.square((at[:, None] - at) / 0.9))
    kernel = (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)
    return picture, kernel @ picture @ kernel.T, ~core


_PAINTS: dict[str, Paint] = {
    "hair": _hair,
    "corner-tag": _corner_tag,
    "small-tag": _small_tag,
    "co-object": _co_object,
    "background": _background,
    "tint": _tint,
    "blur": _blur,
}
