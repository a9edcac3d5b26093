"""What a picture is like apart from what it shows: size, light, sharpness, margins, a fingerprint.

Properties that tell the label (one hospital's brighter pictures) are shortcuts that no region can
hold. The fingerprint finds near-duplicates: pHash, the signs of the lowest frequencies of a small
grey copy (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"). It
was preferred to dHash because it hardly changes with size, compression, brightness and contrast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft

from audit.data.images import Pixels

#: Properties that are compared with the label; of ``width`` and ``height`` also the size is made.
MEASURED = ("width", "height", "brightness", "contrast", "sharpness", "border")

_SIDE = 256  # larger pictures are reduced by whole factors: bounded cost, one scale of sharpness
_TOLERANCE = 8  # grey levels within which a margin is uniform: compression leaves that much
_HASHED = 32  # side of the copy that is hashed
_LOWEST = 8  # frequencies kept per axis: 8 x 8 = 64 bits
_COSINES = fft.dct(np.eye(_HASHED), axis=0, norm="ortho")[:_LOWEST]
_NOISE = 3  # decimals of a coefficient that mean something: a flat picture has none


class Properties(NamedTuple):
    """Properties of one picture.

    Attributes
    ----------
    width, height
        In pixels, upright.
    brightness, contrast
        Mean and standard deviation of the grey value, as parts of the full scale.
    sharpness
        Variance of the Laplacian, in squared grey levels of 0 to 255.
    border
        Part of the picture in uniform margins around its content: frame or bars; 1 where blank.
    phash
        64 bits; alike pictures differ in few. Colour, mirroring and rotation are not seen.
    """

    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float
    border: float
    phash: int


def describe(picture: Pixels) -> Properties:
    """Properties of a picture, uint8 ``[H, W, 3]``.

    >>> describe(np.full((20, 40, 3), 51, np.uint8))[:6]
    (40, 20, 0.2, 0.0, 0.0, 1.0)
    """
    image = Image.fromarray(picture).convert("L")
    if (factor := min(image.size) // _SIDE) > 1:
        image = image.reduce(factor)
    grey = np.asarray(image)
    height, width = picture.shape[:2]
    return Properties(
        width,
        height,
        float(grey.mean()) / 255,
        float(grey.std()) / 255,
        sharpness(grey),
        border(grey),
        phash(image),
    )


def sharpness(grey: npt.NDArray[np.uint8]) -> float:
    """Variance of the 4-neighbour Laplacian inside the picture; 0 where it has no inside."""
    g = grey.astype(np.float32)
    if min(g.shape) < 3:
        return 0.0
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return float(laplacian.var())


def border(grey: npt.NDArray[np.uint8]) -> float:
    """Part of the picture outside the box of all that differs from its first pixel.

    >>> framed = np.zeros((10, 10), np.uint8); framed[1:9, 1:9] = 200
    >>> border(framed)
    0.36
    """
    differs = np.abs(grey.astype(np.int16) - int(grey[0, 0])) > _TOLERANCE
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    if rows.size == 0:
        return 1.0
    content = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return float(1 - content / grey.size)


def phash(image: Image.Image) -> int:
    """64-bit perceptual hash of a grey picture: which low frequencies are above their median.

    The bit of the mean brightness is always 0.
    """
    small = image.resize((_HASHED, _HASHED), Image.Resampling.BILINEAR)
    lowest = _COSINES @ np.asarray(small, dtype=np.float64) @ _COSINES.T
    waves = np.round(lowest.ravel()[1:], _NOISE)
    bits = np.concatenate([[False], waves > np.partition(waves, waves.size // 2)[waves.size // 2]])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
