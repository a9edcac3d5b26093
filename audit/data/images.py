"""One way from an image file to pixels: upright, 8-bit RGB; and from a mask file to codes.

What is done with odd files: grey is repeated, palettes are looked up, transparency is laid on
white, 16 bits are divided by 257, floats are read as 0 to 1, ink (CMYK) becomes light, the first
frame of an animation is taken, the EXIF rotation is applied. Colour profiles are not applied.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from audit.data.reasons import Kind, bad
from audit.errors import BadSample
from audit.geometry import Size

Pixels = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.integer[Any] | np.bool_]

# Named one by one: Pillow also opens formats that start other programs or hold no pixels.
# JPEG opens MPO too, which has no opener of its own: naming it would hide that a file is none.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
EXACT_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")  # masks: a lossy format alters the codes

_ORIENTATION = 0x0112  # EXIF
_UPRIGHT: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
# What Pillow's decoders raise on broken files, beside OSError.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Frame:
    """The frame that regions are given in.

    Parameters
    ----------
    size
        Height and width of the upright picture.
    orientation
        EXIF orientation (1 to 8) by which the stored picture was brought upright.
    """

    size: Size
    orientation: int = 1

    @property
    def stored(self) -> Size:
        """Height and width of the picture as stored."""
        height, width = self.size
        return (width, height) if self.orientation >= 5 else self.size

    @property
    def ambiguous(self) -> bool:
        """Whether a mask's size cannot tell if it was turned with the picture."""
        return self.orientation != 1 and self.stored == self.size

    def upright(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A mask ``[h, w]`` in the upright frame.

        A mask of the upright picture's size is taken as it is; one that has only the stored
        picture's size is turned with the picture.

        Raises
        ------
        BadSample
            If it has neither size.
        """
        if mask.shape == self.size:
            return mask
        if mask.shape == self.stored:
            return _UPRIGHT[self.orientation](mask)
        raise self.wrong_size((mask.shape[0], mask.shape[1]))

    def wrong_size(self, size: Size) -> BadSample:
        """The error for a mask of another size."""
        found, wanted = ("{} x {}".format(*shape) for shape in (size, self.size))
        return bad(Kind.MASK_SIZE, f"{found} (height x width), the picture has {wanted}")


def read_picture(path: Path, *, max_pixels: int) -> tuple[Pixels, Frame]:
    """Decode a picture.

    Returns
    -------
    Upright RGB pixels, uint8 ``[H, W, 3]``, and the frame for its regions.

    Raises
    ------
    BadSample
        ``empty image``, ``unreadable image``, ``truncated image``, ``too many pixels`` or
        ``pixel values``.
    """
    with _opened(path, FORMATS, _PICTURE) as image:
        if image.width * image.height > max_pixels:
            detail = f"{image.width} x {image.height}, allowed are {max_pixels}"
            raise bad(Kind.TOO_MANY_PIXELS, detail)
        stored = _rgb(image)
        orientation = _orientation(image)
    upright = np.ascontiguousarray(_turned(stored, orientation))
    return upright, Frame((upright.shape[0], upright.shape[1]), orientation)


def read_codes(path: Path, frame: Frame) -> Codes:
    """Decode a mask of one channel: its exact values, whole numbers ``[H, W]``, upright.

    A palette's indices are the values. A grey mask saved as RGB is read as grey.

    Raises
    ------
    BadSample
        ``unreadable mask``, ``mask size`` or ``mask colours``.
    """
    with _opened(path, EXACT_FORMATS, _MASK) as image:
        if sorted(image.size) != sorted(frame.size):
            raise frame.wrong_size((image.height, image.width))
        image.load()
        values = _single_channel(np.asarray(image))
        orientation = _orientation(image)
    return frame.upright(_turned(values, orientation))


class _Kinds(NamedTuple):
    empty: Kind
    truncated: Kind
    unreadable: Kind


_PICTURE = _Kinds(Kind.EMPTY_IMAGE, Kind.TRUNCATED_IMAGE, Kind.UNREADABLE_IMAGE)
_MASK = _Kinds(Kind.UNREADABLE_MASK, Kind.UNREADABLE_MASK, Kind.UNREADABLE_MASK)


@contextmanager
def _opened(path: Path, formats: tuple[str, ...], kinds: _Kinds) -> Iterator[Image.Image]:
    """The opened image; every way in which it can be broken becomes a ``BadSample``."""
    try:
        if path.stat().st_size == 0:
            raise bad(kinds.empty, "the file has no bytes")
        with Image.open(path, formats=formats) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise bad(Kind.TOO_MANY_PIXELS, str(error)) from error
    except UnidentifiedImageError as error:
        raise bad(kinds.unreadable, f"not one of {', '.join(formats)}") from error
    except _DECODER_ERRORS as error:
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        kind = kinds.truncated if "truncated" in detail.lower() else kinds.unreadable
        raise bad(kind, detail) from error


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; a damaged EXIF block counts as none, as picture viewers have it."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1
    return found if found in _UPRIGHT else 1


def _turned(stored: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    return _UPRIGHT[orientation](stored) if orientation in _UPRIGHT else stored


def _rgb(image: Image.Image) -> Pixels:
    """Stored pixels as RGB, uint8 ``[H, W, 3]``."""
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow inverts the ink of every CMYK JPEG, as Adobe's programs store it.
        image = Image.fromarray(255 - np.asarray(image), mode="CMYK")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(values: npt.NDArray[Any]) -> Pixels:
    """Grey values of more than 8 bits: integers of 0 to 65535, floats of 0 to 1."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):
        raise bad(Kind.PIXEL_VALUES, f"{low:g} to {high:g}, must lie in 0 to {top:g}")
    return np.round(values * (255.0 / top)).astype(np.uint8)


def _single_channel(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The one channel of a mask; grey stored as several equal, opaque ones counts as one."""
    if values.dtype.kind == "f":
        raise bad(Kind.MASK_COLOURS, "floating point; whole numbers are needed")
    if values.ndim == 2:
        return values
    colours, alpha = (values[..., :3], values[..., 3:])
    if values.shape[2] == 2:
        colours, alpha = (values[..., :1], values[..., 1:])
    if (colours != colours[..., :1]).any() or (alpha != 255).any():
        raise bad(Kind.MASK_COLOURS, "colours or transparency; one channel is needed")
    return colours[..., 0]
