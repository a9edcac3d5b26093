"""Hair styles: a part behind the body and a part over the face, each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audit.data.scenes.canvas import Code, Colour, Pen, darker, lighter, mirrored

Layer = Callable[[Pen, Colour], None]

# The hairline, from one temple to the other, and the crown back again.
_LINE = [(-12.3, -0.5), (-10.4, -6.0), (-5.0, -8.8), (2.0, -9.2), (8.0, -8.0), (11.0, -5.0)]
_CROWN = [(12.3, -0.5), (13.6, -6.5), (10.2, -14.0), (0.0, -17.4), (-10.2, -14.0), (-13.6, -6.5)]


def _cap(pen: Pen, colour: Colour, rise: float = 0.0, spread: float = 0.0) -> None:
    """Hair on the crown, down to the hairline; ``rise`` and ``spread`` puff it up."""
    crown = [(x * (1 + spread), y - rise * max(0.0, -y - 4) / 13) for x, y in _CROWN]
    pen.blob([*_LINE, *crown], colour)
    shine = lighter(colour, 0.16)
    pen.curve([(-8.5, -10.5), (-4.5, -13.5 - rise * 0.6), (2, -14.6 - rise * 0.6)], 1.1, shine)
    pen.curve([(-5.5, -10.6), (-1.0, -12.4), (5, -12.8)], 0.8, shine)


def _curls(pen: Pen, colour: Colour, centres: np.ndarray, radius: float) -> None:
    for tone, part in ((darker(colour, 0.12), 1.0), (colour, 0.78)):
        for x, y in centres:
            pen.ellipse(x, y, radius * part, radius * part, tone)
    for x, y in centres[::2]:
        pen.ellipse(x - radius / 4, y - radius / 3, radius * 0.3, radius / 4, lighter(colour, 0.14))


def _arc(start: float, end: float, count: int, rx: float, ry: float, y: float) -> np.ndarray:
    angles = np.radians(np.linspace(start, end, count))
    return np.stack([rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _nothing(pen: Pen, colour: Colour) -> None:
    """Short hair has no part behind the body."""


def _crop(pen: Pen, colour: Colour) -> None:
    _cap(pen, colour, rise=-0.6)


def _parting(pen: Pen, colour: Colour) -> None:
    _cap(pen, colour, rise=2.0)
    sweep = [(-12.4, -3), (-8, -12), (3, -16.5), (11, -12.5), (13.4, -5), (9, -7.5), (-5, -6.5)]
    pen.blob(sweep, darker(colour, 0.06))
    pen.curve([(-6.5, -10.5), (1, -13.8), (9, -10.5)], 1.0, lighter(colour, 0.18))
    pen.curve([(-8, -8.5), (0, -11), (8, -8.8)], 0.8, lighter(colour, 0.12))


def _quiff(pen: Pen, colour: Colour) -> None:
    _cap(pen, colour, rise=1.0)
    tuft = [(-10.5, -9), (-8, -17.5), (1, -21.2), (10, -19.8), (12.5, -13), (8.5, -9.8), (0, -11)]
    pen.blob(tuft, colour)
    pen.curve([(-6.5, -12), (-2, -17.2), (7, -18.2)], 1.1, lighter(colour, 0.18))
    pen.curve([(-2.5, -11.8), (2, -15), (9, -15.4)], 0.9, lighter(colour, 0.13))


def _short_curls(pen: Pen, colour: Colour) -> None:
    _cap(pen, colour, rise=0.5)
    _curls(pen, colour, _arc(188, 352, 11, 12.2, 11.5, -5.2), 3.5)
    _curls(pen, colour, _arc(215, 325, 6, 7.0, 4.6, -7.6), 3.1)


def _fall(pen: Pen, colour: Colour, length: float, flare: float) -> None:
    """A curtain of hair behind the head, ``length`` below the middle of the face."""
    half = [(0, -17), (11, -14), (15.2, -4), (15.6 + flare * 0.4, 8), (15 + flare, length - 5)]
    half += [(11 + flare * 0.7, length), (0, length - 3)]
    pen.blob(mirrored(half), darker(colour, 0.20))


def _locks(pen: Pen, colour: Colour, length: float, width: float) -> None:
    """Strands in front of the shoulders, on both sides of the face."""
    for side in (-1.0, 1.0):
        outer = [(side * 11.6, -9), (side * 15.2, -2), (side * 15.8, 9), (side * 14.8, length)]
        inner = [(side * (14.2 - width), length - 3), (side * (15.0 - width), 8)]
        pen.blob([*outer, *inner, (side * 11.2, -1)], colour)
        strand = [(side * 13.2, -4), (side * 14.0, 6), (side * 13.0, length - 5)]
        pen.curve(strand, 0.9, lighter(colour, 0.14))


def _long_back(pen: Pen, colour: Colour) -> None:
    _fall(pen, colour, 35, 4.5)


def _long(pen: Pen, colour: Colour) -> None:
    _locks(pen, colour, 33, 7.0)
    _cap(pen, colour, rise=0.8, spread=0.06)


def _waves_back(pen: Pen, colour: Colour) -> None:
    _fall(pen, colour, 25, 4.5)
    for side in (-1.0, 1.0):
        centres = np.array([(17, 2), (18, 9), (19, 16), (17, 23)]) * (side, 1)
        _curls(pen, darker(colour, 0.12), centres, 4.2)


def _waves(pen: Pen, colour: Colour) -> None:
    lock = np.array([(13.6, -6), (14.8, 0), (14.6, 6), (15.4, 12), (14.2, 18), (14.8, 23)])
    for side in (-1.0, 1.0):
        _curls(pen, colour, lock * (side, 1), 3.4)
    _cap(pen, colour, rise=1.6, spread=0.05)


def _bob_back(pen: Pen, colour: Colour) -> None:
    _fall(pen, colour, 18, 2.6)


def _bob(pen: Pen, colour: Colour) -> None:
    _locks(pen, colour, 17, 6.0)
    _cap(pen, colour, rise=1.2, spread=0.08)
    fringe = mirrored([(0, -14), (10, -11), (12, -3), (6, -5), (0, -5.6)])
    pen.blob(fringe[:-1], colour)
    pen.curve([(-7, -7), (-5, -11), (0, -13)], 0.9, lighter(colour, 0.16))


def _bun_back(pen: Pen, colour: Colour) -> None:
    pen.ellipse(0, -20.5, 7.2, 6.4, darker(colour, 0.10))
    pen.curve([(-4.6, -21), (0, -24.4), (4.8, -20.5)], 1.1, lighter(colour, 0.14))


def _bun(pen: Pen, colour: Colour) -> None:
    _cap(pen, colour, rise=0.6)
    for x in (-6.0, 0.0, 6.0):
        pen.curve([(x * 1.4, -9.2), (x * 0.9, -13), (x * 0.4, -16.6)], 0.7, darker(colour, 0.25))


def _tail_back(pen: Pen, colour: Colour) -> None:
    tail = [(5, -15), (14, -16), (21, -8), (21.5, 6), (18.5, 21), (14.5, 25), (14.5, 8), (12, -5)]
    pen.blob(tail, darker(colour, 0.14))
    pen.curve([(13, -12.5), (18, -5), (18.4, 8), (16.4, 20)], 1.1, lighter(colour, 0.10))


def _tail(pen: Pen, colour: Colour) -> None:
    _cap(pen, colour, rise=0.4)
    pen.ellipse(11.6, -13.4, 2.2, 2.8, (196, 74, 96))


STYLES: dict[str, tuple[Layer, Layer]] = {
    "crop": (_nothing, _crop),
    "parting": (_nothing, _parting),
    "quiff": (_nothing, _quiff),
    "curls": (_nothing, _short_curls),
    "long": (_long_back, _long),
    "waves": (_waves_back, _waves),
    "bob": (_bob_back, _bob),
    "bun": (_bun_back, _bun),
    "ponytail": (_tail_back, _tail),
}
SHORT = ("crop", "parting", "quiff", "curls")
LONG = ("long", "waves", "bob", "ponytail", "bun")


def behind(pen: Pen, style: str, colour: Colour) -> None:
    """The part that the body and the face cover."""
    STYLES[style][0](pen.of(Code.HAIR), colour)


def over(pen: Pen, style: str, colour: Colour, band: Colour | None) -> None:
    """The part that covers the face and the shoulders, and the band around it."""
    pen = pen.of(Code.HAIR)
    STYLES[style][1](pen, colour)
    if band:
        arch = np.array([(-13.2, -7.0), (-8.4, -13.4), (0, -15.6), (8.4, -13.4), (13.2, -7.0)])
        pen.curve(arch, 3.0, darker(band, 0.18))
        pen.curve(arch - (0, 0.4), 1.9, band)
