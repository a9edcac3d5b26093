"""Drawing with colour and region code in one stroke, on a supersampled canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = NDArray[np.float64]
PointsLike = Points | Sequence[tuple[float, float]]

UNITS = 112.0  # drawings are in these units, whatever the size in pixels


class Code(IntEnum):
    """Pixel values of the mask."""

    BACKGROUND = 0
    FACE = 1
    HAIR = 2
    CLOTHING = 3
    TOOLS = 4
    SKIN = 5  # neck, arms and hands: neither core nor forbidden


@dataclass(frozen=True)
class Pen:
    """Draws shapes given in its own coordinates, each pixel with its region's code.

    The image is RGBA: its fourth channel holds the code, so colour and mask cannot disagree.

    Parameters
    ----------
    draw
        The canvas.
    matrix
        From the pen's coordinates to canvas pixels, ``[2, 3]``.
    code
        Region that the pen draws.
    """

    draw: ImageDraw.ImageDraw
    matrix: NDArray[np.float64]
    code: Code = Code.BACKGROUND

    @classmethod
    def on(cls, image: Image.Image) -> Pen:
        """A pen whose coordinates are the whole picture, 0 to ``UNITS``."""
        scale = image.width / UNITS
        return cls(ImageDraw.Draw(image), np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]))

    def of(self, code: Code) -> Pen:
        """The same pen for another region."""
        return replace(self, code=code)

    def at(
        self, x: float, y: float, angle: float = 0.0, scale: float = 1.0, mirror: bool = False
    ) -> Pen:
        """A pen with its origin at ``(x, y)``, turned clockwise by ``angle`` degrees."""
        cos, sin = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
        side = -1.0 if mirror else 1.0
        local = np.array([[cos * side, -sin, x], [sin * side, cos, y], [0.0, 0.0, 1.0]])
        return replace(self, matrix=self.matrix @ local)

    @property
    def scale(self) -> float:
        """Canvas pixels per unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def _pixels(self, points: PointsLike) -> list[float]:
        placed = np.asarray(points) @ self.matrix[:, :2].T + self.matrix[:, 2]
        flat: list[float] = placed.ravel().tolist()
        return flat

    def fill(self, points: PointsLike, colour: Colour) -> None:
        """A filled polygon."""
        self.draw.polygon(self._pixels(points), fill=(*colour, int(self.code)))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.fill([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """A filled ellipse."""
        self.fill(_CIRCLE * (rx, ry) + (x, y), colour)

    def blob(self, points: PointsLike, colour: Colour) -> None:
        """A filled closed curve through the points."""
        self.fill(smooth(points), colour)

    def line(self, points: PointsLike, width: float, colour: Colour) -> None:
        """A line with round ends."""
        flat = self._pixels(points)
        across = width * self.scale
        fill = (*colour, int(self.code))
        self.draw.line(flat, fill=fill, width=max(round(across), 1), joint="curve")
        radius = across / 2
        for x, y in (flat[:2], flat[-2:]):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def curve(self, points: PointsLike, width: float, colour: Colour) -> None:
        """A line along an open curve through the points."""
        self.line(smooth(points, closed=False), width, colour)

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        radii: tuple[float, float],
        colour: Colour,
    ) -> None:
        """A tapered, round-ended bar."""
        a, b = np.array(start), np.array(end)
        along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
        across = np.array([-along[1], along[0]])
        bar = [a + across * radii[0], b + across * radii[1], b - across * radii[1]]
        self.fill(np.array([*bar, a - across * radii[0]]), colour)
        self.ellipse(*start, radii[0], radii[0], colour)
        self.ellipse(*end, radii[1], radii[1], colour)


_ANGLES = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)

_STEPS = np.arange(6)[:, None] / 6.0
_BASIS = 0.5 * np.concatenate(
    [
        -_STEPS + 2 * _STEPS**2 - _STEPS**3,
        2 - 5 * _STEPS**2 + 3 * _STEPS**3,
        _STEPS + 4 * _STEPS**2 - 3 * _STEPS**3,
        -(_STEPS**2) + _STEPS**3,
    ],
    axis=1,
)


def smooth(points: PointsLike, *, closed: bool = True) -> Points:
    """Catmull-Rom curve through the points, six steps to each.

    >>> smooth([(0, 0), (1, 0), (1, 1)]).shape
    (18, 2)
    """
    knots = np.asarray(points, dtype=float)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([knots[:1], knots, knots[-1:]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)
    curve: Points = (_BASIS[None] @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


def mirrored(half: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A closed outline from its right half, top to bottom.

    >>> mirrored([(0, 0), (2, 1)])
    [(0, 0), (2, 1), (-2, 1), (0, 0)]
    """
    return [*half, *((-x, y) for x, y in reversed(half))]


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """``part`` of the second colour in the first.

    >>> mix((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue


def lighter(colour: Colour, part: float) -> Colour:
    """The colour with ``part`` of white."""
    return mix(colour, (255, 255, 255), part)


def darker(colour: Colour, part: float) -> Colour:
    """The colour with ``part`` of a warm black."""
    return mix(colour, (28, 18, 30), part)
