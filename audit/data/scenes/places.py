"""Backgrounds: where the person stands. None of them depends on the class or the person."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audit.data.scenes.canvas import UNITS, Colour, Pen, darker, lighter, mix

_WALLS: list[Colour] = [
    (214, 226, 228), (228, 222, 208), (206, 220, 204), (216, 214, 222), (200, 212, 228),
    (232, 228, 220), (186, 200, 204), (216, 206, 190), (176, 196, 190), (190, 190, 204),
]  # fmt: skip
_ACCENTS: list[Colour] = [
    (92, 150, 160), (176, 150, 112), (120, 152, 104), (124, 122, 160), (98, 122, 168),
    (200, 176, 112), (140, 116, 92), (132, 164, 176),
]  # fmt: skip


def _accent(rng: np.random.Generator) -> Colour:
    return _ACCENTS[int(rng.integers(len(_ACCENTS)))]


def _room(pen: Pen, rng: np.random.Generator, wall: Colour) -> float:
    """Wall, skirting and floor; returns the height of the floor line."""
    floor = rng.uniform(82, 96)
    pen.box(0, 0, UNITS, UNITS, wall)
    pen.box(0, floor, UNITS, UNITS, darker(mix(wall, _accent(rng), 0.35), 0.15))
    pen.box(0, floor - 3, UNITS, floor, lighter(wall, 0.45))
    return float(floor)


def plain(pen: Pen, rng: np.random.Generator, wall: Colour) -> None:
    """A wall in two tones."""
    _room(pen, rng, wall)
    if rng.random() < 0.6:
        height = rng.uniform(40, 64)
        pen.box(0, height, UNITS, 79, mix(wall, _accent(rng), 0.30))
        pen.box(0, height - 1.6, UNITS, height, lighter(wall, 0.5))


def ward(pen: Pen, rng: np.random.Generator, wall: Colour) -> None:
    """A curtain on a rail and a bed."""
    _room(pen, rng, wall)
    cloth = mix(_accent(rng), (255, 255, 255), 0.35)
    left = rng.choice([0.0, 62.0]) + rng.uniform(-6, 6)
    pen.box(0, 9, UNITS, 10.6, (150, 156, 162))
    for index in range(9):
        x = left + index * 5.6
        pen.box(x, 10, x + 5.8, 84, darker(cloth, 0.14) if index % 2 else cloth)
    bed = rng.uniform(64, 74)
    pen.at(0, bed).blob([(-20, 14), (-20, -1), (30, -2), (130, -1), (130, 14)], (246, 247, 248))
    pen.box(0, bed + 7, UNITS, bed + 16, mix(_accent(rng), (255, 255, 255), 0.4))
    pillow = 14 if left > 30 else 96
    pen.ellipse(pillow, bed - 3, 13, 6.0, (252, 252, 252))


def corridor(pen: Pen, rng: np.random.Generator, wall: Colour) -> None:
    """Walls that run to a vanishing point, with doors and lamps."""
    x, y = rng.uniform(38, 74), rng.uniform(34, 48)
    pen.box(0, 0, UNITS, UNITS, wall)
    pen.fill([(0, 0), (UNITS, 0), (x, y)], lighter(wall, 0.45))
    pen.fill([(0, UNITS), (UNITS, UNITS), (x, y)], darker(mix(wall, _accent(rng), 0.3), 0.22))
    pen.fill([(0, 0), (0, UNITS), (x, y)], darker(wall, 0.08))
    pen.box(x - 9, y - 9, x + 9, y + 9, lighter(wall, 0.6))
    door = _accent(rng)

    def along(side: float, depth: float, height: float) -> tuple[float, float]:
        edge = 0.0 if side < 0 else UNITS
        return edge + (x - edge) * depth, height + (y - height) * depth

    for side in (-1.0, 1.0):
        for near, far in ((0.06, 0.26), (0.42, 0.56)):
            corners = [along(side, near, 20), along(side, far, 20)]
            pen.fill([*corners, along(side, far, 106), along(side, near, 106)], door)
            corners = [along(side, near + 0.04, 30), along(side, far - 0.04, 30)]
            corners += [along(side, far - 0.04, 54), along(side, near + 0.04, 54)]
            pen.fill(corners, lighter(door, 0.5))
    for depth in (0.15, 0.5):
        lamp = [(x + (v - x) * (1 - depth), y * depth) for v in (44, 68)]
        tip = [(x + (v - x) * (0.82 - depth), y * (depth + 0.18)) for v in (68, 44)]
        pen.fill([*lamp, *tip], (255, 253, 244))


def window(pen: Pen, rng: np.random.Generator, wall: Colour) -> None:
    """A window with sky, hills and trees."""
    _room(pen, rng, wall)
    left, top = rng.uniform(4, 34), rng.uniform(5, 12)
    right, bottom = left + rng.uniform(56, 72), rng.uniform(54, 64)
    sky = mix((150, 200, 234), (248, 214, 178), rng.uniform(0, 0.9))
    pen.box(left - 3, top - 3, right + 3, bottom + 3, lighter(wall, 0.7))
    pen.box(left, top, right, bottom, sky)
    pen.box(left, top, right, top + (bottom - top) * 0.4, darker(sky, 0.06))
    for _ in range(3):
        cx, cy = rng.uniform(left + 9, right - 9), rng.uniform(top + 6, top + 20)
        pen.ellipse(cx, cy, 8, 2.6, lighter(sky, 0.65))
    green = mix((112, 156, 96), _accent(rng), 0.25)
    hills = [(left + (right - left) * i / 4, bottom - rng.uniform(8, 18)) for i in range(5)]
    pen.fill([*hills, (right, bottom), (left, bottom)], green)
    for _ in range(4):
        cx, size = rng.uniform(left + 6, right - 6), rng.uniform(3.5, 6)
        pen.ellipse(cx, bottom - size, size, size, darker(green, 0.22))
    middle = (left + right) / 2
    pen.box(middle - 1.2, top, middle + 1.2, bottom, lighter(wall, 0.7))
    pen.box(left - 5, bottom + 2.5, right + 5, bottom + 6, lighter(wall, 0.8))


def plants(pen: Pen, rng: np.random.Generator, wall: Colour) -> None:
    """Potted plants at both sides and a picture on the wall."""
    floor = _room(pen, rng, wall)
    frame = rng.uniform(10, 78)
    pen.box(frame, 10, frame + 24, 34, darker(_accent(rng), 0.3))
    pen.box(frame + 1.6, 11.6, frame + 22.4, 32.4, lighter(_accent(rng), 0.6))
    pen.ellipse(frame + 12, 24, 6, 5, _accent(rng))
    for x in (rng.uniform(4, 16), rng.uniform(96, 108)):
        leaf = mix((70, 132, 84), _accent(rng), rng.uniform(0, 0.3))
        base = floor - 10
        for angle in np.linspace(-62, 62, 7) + rng.normal(0, 6, 7):
            branch = pen.at(x, base, angle)
            length = rng.uniform(24, 40)
            tone = darker(leaf, float(rng.uniform(0, 0.28)))
            branch.blob([(0, 0), (-3.8, -length * 0.6), (0, -length), (3.8, -length * 0.6)], tone)
        pot = _accent(rng)
        pen.fill([(x - 9, base), (x + 9, base), (x + 6.5, base + 17), (x - 6.5, base + 17)], pot)
        pen.box(x - 10, base - 1, x + 10, base + 3, lighter(pot, 0.2))


def shelf(pen: Pen, rng: np.random.Generator, wall: Colour) -> None:
    """Shelves with books, boxes and jars."""
    _room(pen, rng, wall)
    wood = mix((168, 126, 88), wall, rng.uniform(0, 0.6))
    for bottom in (26.0, 54.0, 82.0):
        pen.box(0, bottom, UNITS, bottom + 2.4, wood)
        x = rng.uniform(0, 6)
        while x < UNITS:
            width, height = rng.uniform(3, 9), rng.uniform(10, 19)
            colour = mix(_accent(rng), wall, rng.uniform(0.1, 0.5))
            if rng.random() < 0.8:
                pen.box(x, bottom - height, x + width, bottom, colour)
                band = bottom - height * 0.75
                pen.box(x, band, x + width, band + height * 0.15, lighter(colour, 0.45))
            x += width + rng.uniform(0.4, 3.0)


PLACES: dict[str, Callable[[Pen, np.random.Generator, Colour], None]] = {
    "plain": plain,
    "ward": ward,
    "corridor": corridor,
    "window": window,
    "plants": plants,
    "shelf": shelf,
}


def backdrop(pen: Pen, place: str, rng: np.random.Generator) -> None:
    """Draw a place over the whole canvas."""
    wall = _WALLS[int(rng.integers(len(_WALLS)))]
    PLACES[place](pen, rng, mix(wall, _accent(rng), float(rng.uniform(0, 0.3))))
