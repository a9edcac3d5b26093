"""From the description of a scene to its picture and mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from audit.data.scenes.canvas import UNITS, Code, Pen
from audit.data.scenes.hair import behind, over
from audit.data.scenes.people import Pose, body, cast, dress, face, grip, reach
from audit.data.scenes.places import backdrop
from audit.data.scenes.tools import TOOLS

SUPERSAMPLING = 4
HEAD = 1.2  # heads a little too large for the bodies: friendly, and large enough to measure

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What a picture shows, as in the manifest."""

    label: str
    gender: str
    skin_tone: str
    tool: str
    hair_style: str
    background: str


def paint(
    scene: Scene, rng: np.random.Generator, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a scene.

    Everything is drawn at four times the size; the picture is averaged down, the mask takes the
    nearest pixel of the same drawing, so that the two agree to the pixel.

    Parameters
    ----------
    scene
        What to draw.
    rng
        Decides all that the scene leaves open: posture, traits, colours, light, noise.
    size
        Height and width in pixels.

    Returns
    -------
    picture, mask
        uint8 ``[size, size, 3]`` RGB, and uint8 ``[size, size]`` with values of ``Code``.
    """
    figure = _figure(scene, rng, size)
    codes = figure.getchannel("A")
    mask = np.array(codes.resize((size, size), Image.Resampling.NEAREST))
    cover = _down(codes.point([0] + [255] * 255))[..., None]
    # Where nothing is drawn the canvas is black, so the average is premultiplied by the cover.
    person = _down(figure.convert("RGB"))
    place = _shadowed(_place(scene, rng, size), cover[..., 0], rng)
    picture = person * _modelling(mask, rng)[..., None] + place * (1 - cover)
    return _exposed(picture, rng), mask


def _down(image: Image.Image) -> Field:
    return _unit(image.reduce(SUPERSAMPLING))


def _soft(field: Field, radius: float) -> Field:
    image = Image.fromarray((field * 255).astype(np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(radius * len(field) / UNITS))
    return _unit(blurred)


def _unit(image: Image.Image) -> Field:
    """Pixels in 0..1."""
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _figure(scene: Scene, rng: np.random.Generator, size: int) -> Image.Image:
    """The person and the tool: RGBA, the fourth channel holding the code."""
    image = Image.new("RGBA", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    person = cast(scene.gender, scene.skin_tone, scene.hair_style, rng)
    outfit = dress(rng)
    worn = scene.tool == "stethoscope"
    side = float(rng.choice([-1.0, 1.0]))
    hand = (side * rng.uniform(22, 36), rng.uniform(36, 54))
    pose = Pose(side, None if worn else hand, str(rng.choice(["down", "hip", "behind"])))
    pen = Pen.on(image).at(
        UNITS / 2 + rng.uniform(-8, 8), 38 + rng.uniform(-4, 4), 0, rng.uniform(0.92, 1.08)
    )
    figure = pen.at(0, 40, rng.normal(0, 2.5)).at(0, -40)
    head = figure.at(0, 14, rng.normal(0, 3.5), HEAD).at(0, -14)
    behind(head, person.hair_style, person.hair)
    body(figure, person, outfit, pose)
    draw = TOOLS[scene.label][scene.tool]
    if pose.hand is None:
        draw(figure.at(0, 14).of(Code.TOOLS), rng)
    face(head, person)
    over(head, person.hair_style, person.hair, person.band)
    if pose.hand is None:
        return image
    reach(figure, person, outfit, side, hand)
    lean = side * rng.uniform(-30, 45)
    held = figure.at(*hand, lean, rng.uniform(1.15, 1.45), bool(rng.random() < 0.5))
    draw(held.of(Code.TOOLS), rng)
    grip(figure.at(*hand, lean * 0.4, 1.0, side < 0), person)
    return image


def _place(scene: Scene, rng: np.random.Generator, size: int) -> Field:
    """The background, slightly out of focus."""
    image = Image.new("RGB", (size * 2, size * 2))
    backdrop(Pen.on(image), scene.background, rng)
    small = image.reduce(2).filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.3) * size / UNITS))
    return _unit(small)


def _shadowed(place: Field, cover: Field, rng: np.random.Generator) -> Field:
    """The place with the person's soft shadow on it."""
    shift = round(rng.uniform(2, 5) * len(cover) / UNITS)
    fallen = np.roll(cover, (shift, int(rng.choice([-1, 1])) * shift), axis=(0, 1))
    fallen[:shift] = 0
    depth = np.float32(rng.uniform(0.12, 0.30))
    return place * (1 - depth * _soft(fallen, 4.0))[..., None]


def _modelling(mask: NDArray[np.uint8], rng: np.random.Generator) -> Field:
    """Light on the figure: rounded edges, shadows of the head and the tool on what is behind."""
    light = np.ones(mask.shape, dtype=np.float32)
    side = float(rng.choice([-1.0, 1.0]))
    across = np.linspace(-1, 1, mask.shape[1], dtype=np.float32)
    for code, radius in ((Code.FACE, 3.0), (Code.HAIR, 2.0), (Code.CLOTHING, 3.5)):
        inside = mask == code
        soft = _soft(inside.astype(np.float32), radius)
        slope = np.gradient(soft, axis=1) * radius * side
        light = np.where(inside, 0.86 + 0.17 * soft + 0.22 * slope, light)
    head = ((mask == Code.FACE) | (mask == Code.HAIR)).astype(np.float32)
    below = (mask == Code.CLOTHING) | (mask == Code.SKIN)
    light = light * np.where(below, 1 - 0.38 * _cast(head, 3, 2.2, mask), 1)
    tool = (mask == Code.TOOLS).astype(np.float32)
    light = light * np.where(mask == Code.CLOTHING, 1 - 0.40 * _cast(tool, 2, 1.5, mask), 1)
    shaded: Field = (light * (1 + 0.07 * side * across)).astype(np.float32)
    return shaded


def _cast(shape: Field, drop: float, radius: float, mask: NDArray[np.uint8]) -> Field:
    """The shadow of a shape, fallen by ``drop`` units."""
    rows = round(drop * len(mask) / UNITS)
    fallen = np.zeros_like(shape)
    fallen[rows:] = shape[: len(shape) - rows]
    return _soft(fallen, radius)


def _exposed(picture: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light of the room, colour of the light, and the noise of the sensor."""
    columns = np.linspace(-1, 1, len(picture), dtype=np.float32)
    rows = columns[:, None]
    angle = rng.uniform(0, 2 * np.pi)
    gradient = rng.uniform(0, 0.12) * (rows * np.sin(angle) + columns * np.cos(angle))
    vignette = rng.uniform(0.02, 0.10) * (rows**2 + columns**2) / 2
    level = rng.uniform(0.80, 1.08) * (1 + gradient - vignette)
    warmth = rng.normal(0, 0.035)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    contrast = rng.uniform(0.85, 1.08)
    exposed = ((picture - 0.5) * contrast + 0.5) * level[..., None] * tint
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * rng.uniform(0.006, 0.020)
    pixels: NDArray[np.uint8] = (np.clip(exposed + noise, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels
