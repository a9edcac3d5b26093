"""A person: body and clothing, face, hair. Origin: the middle of the face; y grows downwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.data.scenes.canvas import Code, Colour, Pen, darker, lighter, mirrored, mix

SKIN: dict[str, Colour] = {
    "fair": (250, 219, 198),
    "light": (238, 190, 155),
    "olive": (209, 153, 110),
    "brown": (156, 100, 66),
    "dark": (98, 61, 44),
}
HAIR: dict[str, Colour] = {
    "black": (36, 31, 36),
    "dark brown": (66, 43, 33),
    "brown": (112, 72, 44),
    "auburn": (146, 66, 34),
    "blond": (214, 170, 98),
    "grey": (158, 156, 158),
}
_BANDS: list[Colour] = [(214, 48, 84), (238, 110, 150), (196, 62, 148), (232, 72, 58)]
# Every colour occurs for every tone; what is common differs.
_COMMON = {"fair": (1, 2, 4, 3, 4, 2), "light": (2, 3, 4, 2, 3, 2), "olive": (4, 4, 3, 1, 1, 2)}
_COMMON |= {"brown": (6, 4, 1, 1, 1, 2), "dark": (7, 3, 1, 1, 1, 2)}

_SCRUBS: list[Colour] = [
    (44, 128, 134), (62, 112, 172), (82, 146, 118), (48, 66, 108), (120, 132, 146), (96, 140, 164),
    (60, 104, 96), (142, 160, 158),
]  # fmt: skip
_WHITES: list[Colour] = [(243, 244, 246), (248, 244, 234), (228, 236, 244), (234, 240, 232)]


@dataclass(frozen=True)
class Person:
    """Everything about a person that is not posture.

    Attributes
    ----------
    gender, skin_tone, hair_style
        As in the manifest.
    hair
        Hair colour.
    band
        Colour of the hair band, if one is worn.
    face
        Named traits of the face; numbers in drawing units.
    """

    gender: str
    skin: Colour
    hair_style: str
    hair: Colour
    jaw: float
    brow: float
    lips: bool
    lashes: bool
    facial_hair: str
    glasses: str
    earrings: bool
    band: Colour | None
    smile: float


def cast(gender: str, skin_tone: str, hair_style: str, rng: np.random.Generator) -> Person:
    """Draw the traits of a person; those of the face lean on the gender, none is certain."""
    man = gender == "man"
    weights = np.array(_COMMON[skin_tone], dtype=float)
    hair = list(HAIR.values())[int(rng.choice(len(HAIR), p=weights / weights.sum()))]
    beards = ["none", "stubble", "moustache", "beard"]
    return Person(
        gender=gender,
        skin=_vary(SKIN[skin_tone], rng, 6),
        hair_style=hair_style,
        hair=_vary(hair, rng, 8),
        jaw=rng.normal(8.7 if man else 7.2, 0.6),
        brow=rng.normal(1.45 if man else 1.05, 0.18),
        lips=bool(rng.random() < (0.05 if man else 0.9)),
        lashes=bool(rng.random() < (0.10 if man else 0.85)),
        facial_hair=str(rng.choice(beards, p=[0.28, 0.20, 0.12, 0.40])) if man else "none",
        glasses=str(rng.choice(["none", "round", "square"], p=[0.72, 0.15, 0.13])),
        earrings=bool(rng.random() < (0.05 if man else 0.45)),
        band=_BANDS[int(rng.integers(len(_BANDS)))]
        if rng.random() < (0.02 if man else 0.6)
        else None,
        smile=rng.uniform(0.5, 1.0),
    )


def _vary(colour: Colour, rng: np.random.Generator, spread: float) -> Colour:
    shift = rng.normal(0, spread / 2) + rng.normal(0, spread / 4, 3)
    red, green, blue = (int(np.clip(c + s, 0, 255)) for c, s in zip(colour, shift, strict=True))
    return red, green, blue


# ---------------------------------------------------------------- body and clothing


@dataclass(frozen=True)
class Outfit:
    """What is worn: independent of class and gender."""

    kind: str
    cloth: Colour
    under: Colour
    trim: Colour
    pocket: float


def dress(rng: np.random.Generator) -> Outfit:
    """Draw an outfit."""
    kind = str(rng.choice(["coat", "scrubs", "tunic"], p=[0.36, 0.36, 0.28]))
    colour, other = (_SCRUBS[int(i)] for i in rng.choice(len(_SCRUBS), 2, replace=False))
    white = _WHITES[int(rng.integers(len(_WHITES)))]
    if kind == "coat":
        cloth, under = white, other
    elif kind == "scrubs":
        cloth, under = colour, lighter(colour, 0.25)
    else:
        cloth, under = (colour, white) if rng.random() < 0.5 else (white, colour)
    return Outfit(
        kind, _vary(cloth, rng, 8), under, darker(cloth, 0.22), float(rng.choice([-1.0, 1.0]))
    )


@dataclass(frozen=True)
class Pose:
    """Where the hands are.

    Attributes
    ----------
    side
        -1 or 1: the side of the picture on which the tool is held.
    hand
        The hand that holds the tool; None if the tool is worn and both arms are idle.
    idle
        Where an idle arm is: down, hip or behind.
    """

    side: float
    hand: tuple[float, float] | None
    idle: str


def body(pen: Pen, person: Person, outfit: Outfit, pose: Pose) -> None:
    """Neck, torso and the arms that hold nothing."""
    skin, cloth = pen.of(Code.SKIN), pen.of(Code.CLOTHING)
    for side in (-pose.side,) if pose.hand else (-1.0, 1.0):
        _idle_arm(pen, person, outfit, pose.idle, side)
    outline = [(-6.5, 17), (-17, 20.5), (-25, 25), (-27.5, 36), (-25.5, 54), (-26.5, 100)]
    cloth.blob(mirrored(outline), outfit.cloth)
    skin.fill([(-5.4, 6), (5.4, 6), (6.2, 18), (0, 24), (-6.2, 18)], darker(person.skin, 0.10))
    if outfit.kind == "coat":
        _coat(cloth, skin, person, outfit)
    elif outfit.kind == "scrubs":
        _scrubs(cloth, skin, person, outfit)
    else:
        _tunic(cloth, outfit)
    for side in (-1.0, 1.0):
        cloth.curve([(side * 21.5, 40), (side * 21, 52), (side * 22.5, 66)], 0.9, outfit.trim)
    _pocket(cloth, outfit)


def _coat(cloth: Pen, skin: Pen, person: Person, outfit: Outfit) -> None:
    shade = darker(outfit.cloth, 0.12)
    cloth.fill([(-7, 15.5), (7, 15.5), (4.5, 46), (0, 62), (-4.5, 46)], outfit.under)
    skin.fill([(-4.6, 15), (4.6, 15), (0, 23)], darker(person.skin, 0.06))
    cloth.line([(0, 24), (0, 58)], 0.7, darker(outfit.under, 0.3))
    for side in (-1.0, 1.0):
        collar = [(side * 4.4, 14.5), (side * 7.4, 15), (side * 3.6, 22), (side * 0.8, 23)]
        cloth.fill(collar, lighter(outfit.under, 0.28))
        under = [(side * 6.6, 15), (side * 12, 22), (side * 9.5, 28), (side * 11, 31)]
        cloth.fill([*under, (side * 1.2, 56), (side * 4, 34)], shade)
        lapel = [(side * 7.2, 16.6), (side * 11, 22.3), (side * 8.3, 28.2), (side * 9.6, 31)]
        cloth.fill([*lapel, (side * 1.6, 54), (side * 5, 34)], lighter(outfit.cloth, 0.35))
    cloth.line([(0, 56), (0, 100)], 0.9, outfit.trim)
    for y in (64, 74, 84):
        cloth.ellipse(2.2, y, 1.0, 1.0, darker(outfit.cloth, 0.35))


def _scrubs(cloth: Pen, skin: Pen, person: Person, outfit: Outfit) -> None:
    cloth.fill([(-9, 15.5), (0, 33), (9, 15.5), (6, 15), (-6, 15)], outfit.under)
    skin.fill([(-6.2, 14.5), (0, 28), (6.2, 14.5)], darker(person.skin, 0.06))
    cloth.line([(-8.6, 16.5), (0, 33), (8.6, 16.5)], 0.8, outfit.trim)


def _tunic(cloth: Pen, outfit: Outfit) -> None:
    cloth.blob([(-7.5, 15), (0, 18.5), (7.5, 15), (8.2, 20), (0, 24), (-8.2, 20)], outfit.under)
    cloth.line([(0, 19), (0, 23)], 0.8, darker(outfit.under, 0.3))
    cloth.curve([(2, 23.5), (11, 30), (13, 44), (13, 100)], 1.6, outfit.under)
    for y in (32, 42, 52, 62):
        cloth.ellipse(9.6 if y > 40 else 8.6, y, 1.1, 1.1, darker(outfit.under, 0.25))


def _pocket(cloth: Pen, outfit: Outfit) -> None:
    x = outfit.pocket * 14.5
    shape = mirrored([(5, -5), (5, 3.2), (0, 5)])
    cloth.at(x, 47).fill(shape, outfit.trim)
    cloth.at(x, 47.4, scale=0.84).fill(shape, mix(outfit.cloth, outfit.trim, 0.25))


def _elbow(hand: tuple[float, float], side: float) -> tuple[float, float]:
    return side * max(30.0, abs(hand[0]) * 0.55 + 16), max(hand[1] + 13, 50.0)


def _idle_arm(pen: Pen, person: Person, outfit: Outfit, idle: str, side: float) -> None:
    shoulder = (side * 22.5, 29.0)
    if idle == "hip":
        elbow, hand = (side * 37.0, 52.0), (side * 27.0, 68.0)
    elif idle == "behind":
        elbow, hand = (side * 30.5, 54.0), (side * 22.0, 74.0)
    else:
        elbow, hand = (side * 29.5, 56.0), (side * 31.0, 82.0)
    _arm(pen, person, outfit, (shoulder, elbow, hand), 0.10)


def _arm(
    pen: Pen,
    person: Person,
    outfit: Outfit,
    joints: tuple[tuple[float, float], ...],
    shade: float,
) -> None:
    """Upper arm, forearm and, where sleeves are short, bare skin below the elbow."""
    shoulder, elbow, hand = joints
    cloth, skin = pen.of(Code.CLOTHING), pen.of(Code.SKIN)
    sleeve, edge = darker(outfit.cloth, shade), darker(outfit.cloth, shade + 0.14)
    wrist = (elbow[0] + (hand[0] - elbow[0]) * 0.86, elbow[1] + (hand[1] - elbow[1]) * 0.86)
    skin.limb(elbow, hand, (4.2, 3.1), darker(person.skin, 0.05))
    cloth.limb(shoulder, elbow, (7.6, 6.0), edge)
    if outfit.kind != "scrubs":
        cloth.limb(elbow, wrist, (6.0, 4.8), edge)
        cloth.limb(elbow, wrist, (5.4, 4.2), sleeve)
    cloth.limb(shoulder, elbow, (7.0, 5.4), sleeve)


def reach(pen: Pen, person: Person, outfit: Outfit, side: float, hand: tuple[float, float]) -> None:
    """The arm that holds the tool, up to the wrist."""
    _arm(pen, person, outfit, ((side * 22.0, 29.5), _elbow(hand, side), hand), 0.05)


def grip(pen: Pen, person: Person) -> None:
    """A closed hand around the origin."""
    skin = pen.of(Code.SKIN)
    colour, line = lighter(person.skin, 0.03), darker(person.skin, 0.30)
    skin.ellipse(0, 0.4, 5.0, 4.9, line)
    skin.ellipse(0, 0.4, 4.4, 4.3, colour)
    for y in (-2.6, -0.4, 1.8, 3.8):
        skin.limb((-3.6, y), (2.8, y + 0.3), (1.25, 1.15), line)
        skin.limb((-3.4, y - 0.1), (2.6, y + 0.2), (0.95, 0.9), colour)


# ---------------------------------------------------------------- face


def face(pen: Pen, person: Person) -> None:
    """Ears, face, beard, eyes, brows, nose, mouth, glasses."""
    pen = pen.of(Code.FACE)
    skin = person.skin
    line = darker(skin, 0.34)
    for side in (-1.0, 1.0):
        pen.ellipse(side * 12.0, 1.4, 2.4, 3.6, darker(skin, 0.16))
        pen.ellipse(side * 12.1, 1.5, 1.3, 2.3, darker(skin, 0.28))
        if person.earrings:
            pen.ellipse(side * 12.6, 5.6, 1.3, 1.3, (236, 196, 92))
    pen.blob(_outline(person), skin)
    _beard(pen, person)
    for side in (-1.0, 1.0):
        pen.ellipse(side * 7.0, 5.6, 2.5, 1.7, mix(skin, (226, 92, 82), 0.20))
        _eye(pen.at(side * 4.9, 0.4, mirror=side < 0), person)
    pen.curve([(0.2, 1.5), (1.3, 5.0), (-0.5, 5.6)], 0.75, line)
    _mouth(pen, person)
    _glasses(pen, person)


def _outline(person: Person) -> list[tuple[float, float]]:
    jaw = person.jaw
    half = [(8.6, -11.5), (12, -3.5), (11.4, 4.5), (jaw, 11.2), (jaw * 0.45, 14.6)]
    return [(0, -14), *mirrored(half)]


def _beard(pen: Pen, person: Person) -> None:
    kind, skin = person.facial_hair, person.skin
    if kind == "none":
        return
    jaw = person.jaw
    tone = mix(skin, darker(person.hair, 0.2), {"stubble": 0.26}.get(kind, 0.88))
    if kind != "moustache":
        half = [(11.5, 2.8), (11.3, 6), (jaw + 0.2, 11.8), (jaw * 0.45, 15.2)]
        inner = [(9.8, 2.4), (7.4, 6.0), (jaw * 0.3, 6.4)]
        pen.fill([*mirrored(half), *reversed(mirrored(inner))], tone)
    pen.blob([(-5.0, 8.2), (-2.5, 6.2), (0, 6.7), (2.5, 6.2), (5.0, 8.2), (0, 8.0)], tone)


def _eye(pen: Pen, person: Person) -> None:
    dark = (38, 28, 30)
    pen.blob([(-2.6, 0.2), (0, -1.8), (2.7, -0.1), (0, 1.5)], (252, 250, 247))
    pen.ellipse(0, -0.1, 1.5, 1.55, (82, 58, 42))
    pen.ellipse(0, -0.1, 0.85, 0.9, (18, 14, 18))
    pen.ellipse(0.5, -0.7, 0.42, 0.42, (255, 255, 255))
    width = 1.05 if person.lashes else 0.6
    pen.curve([(-2.7, 0.1), (0, -1.9), (2.8, -0.2)], width, dark)
    if person.lashes:
        pen.line([(2.5, -0.5), (3.7, -1.5)], 0.75, dark)
    hair = mix(darker(person.hair, 0.25), person.skin, 0.10)
    pen.curve([(-2.7, -3.7), (0.4, -4.9), (3.2, -4.0)], person.brow, hair)


def _mouth(pen: Pen, person: Person) -> None:
    depth = 1.9 * person.smile
    lip = (204, 40, 66) if person.lips else mix(person.skin, (150, 60, 58), 0.55)
    if person.smile > 0.72:
        low = 9.4 + depth * (1.5 if person.lips else 1.0)
        pen.blob([(-4.2, 8.3), (0, 8.8), (4.2, 8.3), (2.2, low), (-2.2, low)], lip)
        teeth = [(-2.9, 9.2), (0, 9.6), (2.9, 9.2), (1.4, 8.8 + depth), (-1.4, 8.8 + depth)]
        pen.blob(teeth, (253, 250, 246))
    else:
        width = 1.9 if person.lips else 0.85
        pen.curve([(-3.7, 8.9), (0, 9.1 + depth), (3.7, 8.9)], width, lip)


def _glasses(pen: Pen, person: Person) -> None:
    if person.glasses == "none":
        return
    frame = (46, 40, 48)
    angles = np.linspace(0, 2 * np.pi, 25)
    power = 1.0 if person.glasses == "round" else 0.55
    x, y = np.cos(angles), np.sin(angles)
    ring = np.stack([np.sign(x) * np.abs(x) ** power, np.sign(y) * np.abs(y) ** power], axis=1)
    for side in (-1.0, 1.0):
        pen.line(ring * (4.1, 3.4) + (side * 5.0, 0.5), 0.8, frame)
        pen.line([(side * 9.2, 0.0), (side * 12.0, -0.6)], 0.8, frame)
    pen.curve([(-1.0, 0.2), (0, -0.5), (1.0, 0.2)], 0.8, frame)
