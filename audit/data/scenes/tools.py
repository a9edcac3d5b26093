"""The tools: what makes a scene a doctor's or a nurse's.

Every tool takes its colours from the same palettes, so that its shape is what tells the class.
Held tools are drawn with the hand at the origin and the tool pointing up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audit.data.scenes.canvas import Colour, Pen, darker, lighter, mirrored, mix

Draw = Callable[[Pen, np.random.Generator], None]

_BRIGHT: list[Colour] = [
    (42, 104, 176), (38, 138, 110), (206, 158, 62), (84, 96, 176), (64, 150, 180), (120, 148, 62),
]  # fmt: skip
_DARK: list[Colour] = [
    (46, 50, 62), (32, 58, 98), (28, 78, 66), (62, 52, 92), (84, 62, 46), (52, 72, 84),
]  # fmt: skip
_STEEL: list[Colour] = [(178, 188, 198), (206, 212, 216), (150, 162, 176), (214, 204, 186)]
_SHEET: list[Colour] = [(250, 248, 240), (240, 244, 250), (252, 244, 222), (236, 246, 240)]
_ANY = [*_BRIGHT, *_DARK]


def _pick(rng: np.random.Generator, palette: list[Colour]) -> Colour:
    return palette[int(rng.integers(len(palette)))]


def _rod(pen: Pen, bottom: float, top: float, half: float, colour: Colour) -> None:
    """An upright bar with a light edge and a dark one."""
    pen.limb((0, bottom), (0, top), (half, half), darker(colour, 0.35))
    pen.limb((-half * 0.18, bottom), (-half * 0.18, top), (half * 0.75, half * 0.75), colour)
    pen.line([(-half * 0.4, bottom), (-half * 0.4, top)], half * 0.35, lighter(colour, 0.45))


def stethoscope(pen: Pen, rng: np.random.Generator) -> None:
    """Worn around the neck; the origin is the throat."""
    tube, steel = _pick(rng, _ANY), _pick(rng, _STEEL)
    side = float(rng.choice([-1.0, 1.0]))
    low = rng.uniform(23, 30)
    join = (side * rng.uniform(3, 8), low)
    loose = (join[0] + side * rng.uniform(4, 8), low + rng.uniform(6, 10))
    tubes = [
        [(-7.5, 0.0), (-12.5, 9.0), ((join[0] - 12) / 2, low * 0.68), join],
        [(7.5, 0.0), (12.5, 9.0), ((join[0] + 12) / 2, low * 0.68), join],
        [join, (join[0] - side * 1.5, low + 5), loose],
    ]
    for width, colour in ((3.6, darker(tube, 0.45)), (2.4, tube)):
        for path in tubes:
            pen.curve(path, width, colour)
    for path in tubes:
        pen.curve(np.array(path) - (0.5, 0.2), 0.8, lighter(tube, 0.35))
    x, y = loose[0], loose[1] + 3
    pen.ellipse(x, y, 6.2, 6.2, darker(steel, 0.5))
    pen.ellipse(x, y, 5.2, 5.2, steel)
    pen.ellipse(x, y, 3.2, 3.2, darker(steel, 0.25))
    pen.ellipse(x - 1.0, y - 1.1, 1.4, 1.4, lighter(steel, 0.7))


def hammer(pen: Pen, rng: np.random.Generator) -> None:
    """Reflex hammer: a rod with a rubber wedge across its end."""
    rubber, steel = _pick(rng, _ANY), _pick(rng, _STEEL)
    _rod(pen, 9, -15, 1.6, steel)
    head = np.array([(-10.0, -21.4), (8.0, -17.6), (8.0, -14.0), (-10.0, -10.2)])
    pen.fill(head * (1.08, 1.0) + (0, 0.6), darker(rubber, 0.45))
    pen.fill(head, rubber)
    pen.fill([(-9.0, -19.8), (7, -16.9), (7, -16.2), (-9.0, -17.2)], lighter(rubber, 0.35))


def otoscope(pen: Pen, rng: np.random.Generator) -> None:
    """Otoscope: a thick handle, a round head and a cone to look through."""
    grip, steel = _pick(rng, _ANY), _pick(rng, _STEEL)
    _rod(pen, 10, -7, 3.3, grip)
    _rod(pen, -8, -13, 2.4, steel)
    pen.fill([(-1, -22), (-1, -12), (-15, -15.6), (-15, -18.2)], darker(grip, 0.3))
    pen.fill([(-1, -20.4), (-1, -17.6), (-14, -17.0), (-14, -17.6)], lighter(grip, 0.4))
    pen.ellipse(1.8, -17, 6.2, 6.2, darker(steel, 0.5))
    pen.ellipse(1.8, -17, 5.2, 5.2, steel)
    pen.ellipse(1.8, -17, 3.1, 3.1, lighter(_pick(rng, _BRIGHT), 0.3))
    pen.ellipse(0.8, -18, 1.1, 1.1, (255, 255, 255))


def film(pen: Pen, rng: np.random.Generator) -> None:
    """X-ray film: a dark sheet with ribs."""
    sheet = lighter(mix((22, 30, 50), _pick(rng, _DARK), rng.uniform(0, 0.6)), rng.uniform(0, 0.2))
    bone = mix(sheet, (226, 236, 244), 0.72)
    pen.box(-10.5, -23, 10.5, 3, darker(sheet, 0.4))
    pen.box(-9.7, -22.2, 9.7, 2.2, sheet)
    pen.ellipse(-4.6, -10, 3.9, 8.6, darker(sheet, 0.45))
    pen.ellipse(4.6, -10, 3.9, 8.6, darker(sheet, 0.45))
    pen.line([(0, -20.5), (0, 0.5)], 1.9, bone)
    for y in (-17.4, -13.4, -9.4, -5.4):
        pen.curve([(0, y), (-4.5, y - 1.3), (-8.2, y + 2.4)], 1.15, bone)
        pen.curve([(0, y), (4.5, y - 1.3), (8.2, y + 2.4)], 1.15, bone)


def syringe(pen: Pen, rng: np.random.Generator) -> None:
    """Syringe: a barrel half full, plunger below, needle above."""
    fluid, steel = lighter(_pick(rng, _BRIGHT), 0.15), _pick(rng, _STEEL)
    pen.line([(0, -16), (0, -27)], 1.5, darker(steel, 0.45))
    pen.box(-2.2, -19.5, 2.2, -15, darker(fluid, 0.35))
    pen.box(-5.6, -16, 5.6, 4.0, darker(steel, 0.5))
    pen.box(-4.6, -15, 4.6, 3.4, lighter(steel, 0.7))
    level = rng.uniform(-8, -3)
    pen.box(-4.6, -15, 4.6, level, fluid)
    pen.box(-4.6, level, 4.6, level + 2.2, darker(steel, 0.7))
    for y in np.arange(-13.0, 2.5, 3.0):
        pen.line([(1.4, y), (4.0, y)], 0.8, darker(steel, 0.65))
    pen.box(-8.6, 3.4, 8.6, 5.8, darker(steel, 0.4))
    pen.box(-1.5, 5.4, 1.5, 12.5, steel)
    pen.box(-5.6, 11.5, 5.6, 13.9, darker(steel, 0.4))


def thermometer(pen: Pen, rng: np.random.Generator) -> None:
    """Digital thermometer: a body with a window, and a coloured tip."""
    body, tip = _pick(rng, _SHEET), _pick(rng, _BRIGHT)
    edge = darker(mix(body, tip, 0.2), 0.42)
    pen.limb((0, -15), (0, -25.5), (2.2, 1.2), edge)
    pen.limb((0, -15), (0, -25), (1.5, 0.7), (196, 204, 210))
    shape = np.array([(-4.0, 11), (-5.2, -3), (-2.8, -17), (2.8, -17), (5.2, -3), (4.0, 11)])
    pen.blob(shape * (1.16, 1.04), edge)
    pen.blob(shape, body)
    pen.blob([(-3.4, -12), (-2.8, -17), (2.8, -17), (3.4, -12), (0, -11.4)], tip)
    pen.box(-3.2, -9.8, 3.2, -3.4, edge)
    pen.box(-2.5, -9.1, 2.5, -4.1, (186, 212, 172))
    pen.line([(-1.4, -6.6), (rng.uniform(0, 1.5), -6.6)], 1.3, (52, 66, 54))
    pen.ellipse(0, 7.4, 1.5, 1.5, tip)


def clipboard(pen: Pen, rng: np.random.Generator) -> None:
    """Clipboard: a sheet with lines on a board, under a clip."""
    board = mix(_pick(rng, _BRIGHT), (150, 104, 66), rng.uniform(0.3, 1.0))
    sheet, steel = _pick(rng, _SHEET), _pick(rng, _STEEL)
    pen.box(-10.5, -23, 10.5, 3.4, darker(board, 0.35))
    pen.box(-9.8, -22.3, 9.8, 2.6, board)
    pen.box(-8.2, -20.0, 8.2, 1.2, sheet)
    ink = mix(sheet, _pick(rng, _BRIGHT), 0.7)
    for y in np.arange(-16.0, -1.0, 2.9):
        pen.line([(-6.2, y), (rng.uniform(0.5, 6.2), y)], 0.95, ink)
    pen.box(-4.6, -24.6, 4.6, -20.4, darker(steel, 0.4))
    pen.box(-3.8, -24.0, 3.8, -21.2, steel)


def drip(pen: Pen, rng: np.random.Generator) -> None:
    """Drip bag: a clear pouch half full, with its tube."""
    fluid = lighter(_pick(rng, _BRIGHT), rng.uniform(0.3, 0.6))
    rim = darker(mix(fluid, (150, 170, 186), 0.6), 0.35)
    level = rng.uniform(-15, -9)
    pen.curve([(0, 3), (1.5, 8), (-3, 12), (-1, 18)], 1.7, darker(fluid, 0.35))
    outline = np.array(mirrored([(7, -22), (8.4, -12), (7.4, -1), (2, 3)]))
    pen.blob(outline * 1.08 + (0, 0.6), rim)
    pen.blob(outline, lighter(fluid, 0.72))
    pen.blob([(0, level + 0.6), *mirrored([(7.6, level), (7, -1.4), (2, 2)])], fluid)
    pen.ellipse(0, -20.4, 1.7, 1.2, rim)
    pen.box(-4.4, -13.6, 4.4, -5.0, (248, 248, 246))
    for y in (-11.6, -9.2, -6.8):
        pen.line([(-3.2, y), (2.6, y)], 0.8, darker(fluid, 0.45))


TOOLS: dict[str, dict[str, Draw]] = {
    "doctor": {
        "stethoscope": stethoscope,
        "reflex hammer": hammer,
        "otoscope": otoscope,
        "x-ray film": film,
    },
    "nurse": {
        "syringe": syringe,
        "thermometer": thermometer,
        "clipboard": clipboard,
        "drip bag": drip,
    },
}
