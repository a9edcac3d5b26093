"""Every kind of bad input is quarantined with its reason, or read rightly: never a traceback."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data import check_dataset
from audit.data.images import EXACT_FORMATS, FORMATS
from audit.data.reasons import Kind, kind_of
from tests.data.conftest import Fixture, codes, picture

Break = Callable[[Fixture], None]


def image(tiny: Fixture) -> Path:
    return tiny.folder / tiny.victim["path"]


def mask(tiny: Fixture) -> Path:
    return tiny.folder / tiny.victim["mask"]


def put(tiny: Fixture, column: str, name: str, content: bytes) -> None:
    (tiny.folder / name).write_bytes(content)
    tiny.victim[column] = name


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    stream = BytesIO()
    made = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    made.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever pixels it has."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def with_path(path: str, column: str = "path") -> Break:
    return lambda tiny: tiny.victim.update({column: path})


def with_file(column: str, name: str, content: Callable[[], bytes]) -> Break:
    return lambda tiny: put(tiny, column, name, content())


def linked_outside(column: str) -> Break:
    def link(tiny: Fixture) -> None:
        outside = tiny.folder.parent / "outside.png"
        outside.write_bytes((tiny.folder / tiny.victim[column]).read_bytes())
        (tiny.folder / "link.png").symlink_to(outside)
        tiny.victim[column] = "link.png"

    return link


def reached_by_dots(tiny: Fixture) -> None:
    (tiny.folder.parent / "outside.png").write_bytes(image(tiny).read_bytes())
    tiny.victim["path"] = "images/../../outside.png"


def cut(path: Callable[[Fixture], Path], part: float) -> Break:
    def shorten(tiny: Fixture) -> None:
        content = path(tiny).read_bytes()
        path(tiny).write_bytes(content[: int(len(content) * part)])

    return shorten


def cut_jpeg(tiny: Fixture) -> None:
    content = encoded(picture(), "JPEG")
    put(tiny, "path", "cut.jpg", content[: len(content) - 60])


def flipped_bits(tiny: Fixture) -> None:
    content = bytearray(image(tiny).read_bytes())
    content[len(content) // 2] ^= 0xFF
    image(tiny).write_bytes(content)


def pipe(tiny: Fixture) -> None:
    image(tiny).unlink()
    os.mkfifo(image(tiny))


def duplicated(tiny: Fixture) -> None:
    tiny.victim["sample_id"] = tiny.rows[-2]["sample_id"]


def of_size(height: int, width: int) -> Break:
    return lambda tiny: Image.fromarray(codes(40, 60)[:height, :width]).save(mask(tiny))


def clustered(tiny: Fixture) -> None:
    tiny.data["columns"] = {"cluster_id": "patient"}
    for index, row in enumerate(tiny.rows):
        row["patient"] = f"p{index}"
    tiny.victim["patient"] = ""


def floats(top: float) -> bytes:
    return encoded((picture()[..., 0] / 255 * top).astype(np.float32), "TIFF")


QUARANTINED: dict[str, tuple[Break, Kind]] = {
    "no such picture": (lambda tiny: image(tiny).unlink(), Kind.MISSING_IMAGE),
    "no path": (with_path(""), Kind.MISSING_IMAGE),
    "a folder": (with_path("images"), Kind.MISSING_IMAGE),
    "a pipe": (pipe, Kind.MISSING_IMAGE),
    "a name too long": (with_path("x" * 5000 + ".png"), Kind.MISSING_IMAGE),
    "dots lead outside": (reached_by_dots, Kind.OUTSIDE_ROOT),
    "absolute path": (with_path("/etc/hostname"), Kind.OUTSIDE_ROOT),
    "link leads outside": (linked_outside("path"), Kind.OUTSIDE_ROOT),
    "mask outside": (linked_outside("mask"), Kind.OUTSIDE_ROOT),
    "empty file": (lambda tiny: image(tiny).write_bytes(b""), Kind.EMPTY_IMAGE),
    "text": (lambda tiny: image(tiny).write_text("<html>404</html>"), Kind.UNREADABLE_IMAGE),
    "PostScript": (
        with_file("path", "x.png", lambda: encoded(picture(), "EPS")),
        Kind.UNREADABLE_IMAGE,
    ),
    "fewer pixels than claimed": (
        with_file("path", "x.png", lambda: png(30, 20, b"\0" * 99)),
        Kind.TRUNCATED_IMAGE,
    ),
    "no pixels": (with_file("path", "x.png", lambda: png(0, 20)), Kind.UNREADABLE_IMAGE),
    "flipped bits": (flipped_bits, Kind.UNREADABLE_IMAGE),
    "truncated JPEG": (cut_jpeg, Kind.TRUNCATED_IMAGE),
    "truncated PNG": (cut(image, 0.6), Kind.TRUNCATED_IMAGE),
    "many pixels": (
        with_file("path", "big.png", lambda: encoded(picture(0, 200, 300), "PNG")),
        Kind.TOO_MANY_PIXELS,
    ),
    "decompression bomb": (
        with_file("path", "bomb.png", lambda: png(60_000, 60_000)),
        Kind.TOO_MANY_PIXELS,
    ),
    "floats above 1": (with_file("path", "x.tif", lambda: floats(255)), Kind.PIXEL_VALUES),
    "floats not a number": (with_file("path", "x.tif", lambda: floats(np.nan)), Kind.PIXEL_VALUES),
    "32 bits, negative": (
        with_file(
            "path", "x.tif", lambda: encoded(-picture()[..., 0].astype(np.int32) - 1, "TIFF")
        ),
        Kind.PIXEL_VALUES,
    ),
    "no such mask": (lambda tiny: mask(tiny).unlink(), Kind.MISSING_MASK),
    "no mask path": (with_path("", "mask"), Kind.MISSING_MASK),
    "mask too small": (of_size(19, 30), Kind.MASK_SIZE),
    "mask too large": (of_size(40, 60), Kind.MASK_SIZE),
    "mask lying down": (of_size(30, 20), Kind.MASK_SIZE),
    "mask is text": (lambda tiny: mask(tiny).write_text("1 2 3"), Kind.UNREADABLE_MASK),
    "truncated mask": (cut(mask, 0.6), Kind.UNREADABLE_MASK),
    "empty mask": (lambda tiny: mask(tiny).write_bytes(b""), Kind.UNREADABLE_MASK),
    "lossy mask": (
        with_file("mask", "x.png", lambda: encoded(codes(), "JPEG")),
        Kind.UNREADABLE_MASK,
    ),
    "coloured mask": (
        lambda tiny: Image.fromarray(picture()).save(mask(tiny)),
        Kind.MASK_COLOURS,
    ),
    "mask of floats": (
        with_file("mask", "x.tif", lambda: encoded(codes() * np.float32(0.5), "TIFF")),
        Kind.MASK_COLOURS,
    ),
    "duplicate id": (duplicated, Kind.DUPLICATE_ID),
    "missing id": (with_path("", "sample_id"), Kind.MISSING_ID),
    "missing label": (with_path("NaN", "label"), Kind.MISSING_LABEL),
    "unknown label": (with_path("</script>", "label"), Kind.UNKNOWN_LABEL),
    "missing cluster": (clustered, Kind.MISSING_CLUSTER),
}


@pytest.mark.parametrize("name", QUARANTINED)
def test_is_quarantined_alone_and_with_its_reason(tiny: Fixture, name: str) -> None:
    make_bad, kind = QUARANTINED[name]
    tiny.data |= {"classes": ["doctor", "nurse"], "max_pixels": 50_000}
    make_bad(tiny)

    samples, properties = check_dataset(tiny.open(), workers=2)

    assert list(samples["status"]) == ["ok"] * 7 + ["quarantined"]
    assert kind_of(samples["reason"].iloc[-1]) == kind
    assert "\n" not in samples["reason"].iloc[-1]
    assert str(tiny.folder.parent) not in samples["reason"].iloc[-1]
    assert list(samples["reason"].iloc[:-1]) == [""] * 7
    assert properties["sample_id"].tolist() == samples["sample_id"].tolist()[:-1]
    assert np.isfinite(np.stack(properties["areas"].to_list())).all()
    assert samples["sample_id"].is_unique


def white_under(alpha: np.ndarray, colour: np.ndarray) -> np.ndarray:
    part = alpha[..., None] / 255
    return colour * part + 255 * (1 - part)


def grey() -> np.ndarray:
    return picture()[..., 1]


def alpha() -> np.ndarray:
    return picture()[..., 0]


def repeated(channel: np.ndarray) -> np.ndarray:
    return np.repeat(channel[..., None], 3, axis=2)


def palette() -> Image.Image:
    made = Image.fromarray(codes())
    made.putpalette(COLOURS.ravel().tolist())
    return made


COLOURS = np.array([[10, 20, 30], [200, 0, 0], [0, 180, 0], [0, 0, 150]] + [[77, 66, 55]] * 6)


def ink() -> np.ndarray:
    """CMYK, 255 is full ink."""
    light = picture().astype(int)
    black = 255 - light.max(axis=2)
    return np.dstack([255 - light - black[..., None], black]).clip(0, 255).astype(np.uint8)


def light_of(cmyk: np.ndarray) -> np.ndarray:
    colour = cmyk.astype(float)
    return (255 - colour[..., :3]) * (255 - colour[..., 3:]) / 255


def without_adobe_marker(jpeg: bytes) -> bytes:
    at = jpeg.index(b"\xff\xee")
    (length,) = struct.unpack(">H", jpeg[at + 2 : at + 4])
    return jpeg[:at] + jpeg[at + 2 + length :]


def cmyk_jpeg() -> bytes:
    return encoded(Image.fromarray(ink(), mode="CMYK"), "JPEG", quality=100, subsampling=0)


def frames(kind: str) -> bytes:
    others = [Image.fromarray(255 - picture())]
    first = Image.fromarray(picture())
    return encoded(first, kind, save_all=True, append_images=others, lossless=True)


SIXTEEN = (picture()[..., 1].astype(np.uint16) * 251 + 7).astype(np.uint16)  # up to 64,000

# name: file, its bytes, the pixels that a person sees, and how far off a value may be
READ: dict[str, tuple[str, Callable[[], bytes], Callable[[], np.ndarray], float]] = {
    "RGB": ("x.png", lambda: encoded(picture(), "PNG"), picture, 0),
    "1 bit": (
        "x.png",
        lambda: encoded(Image.fromarray(grey() > 128), "PNG"),
        lambda: repeated((grey() > 128) * 255),
        0,
    ),
    "grey": ("x.png", lambda: encoded(grey(), "PNG"), lambda: repeated(grey()), 0),
    "grey and alpha": (
        "x.png",
        lambda: encoded(Image.fromarray(np.dstack([grey(), alpha()]), mode="LA"), "PNG"),
        lambda: white_under(alpha(), repeated(grey())),
        1,
    ),
    "RGB and alpha": (
        "x.png",
        lambda: encoded(np.dstack([picture(), alpha()]), "PNG"),
        lambda: white_under(alpha(), picture()),
        1,
    ),
    "palette": (
        "x.png",
        lambda: encoded(palette(), "PNG"),
        lambda: COLOURS[codes()],
        0,
    ),
    "palette, one colour clear": (
        "x.png",
        lambda: encoded(palette(), "PNG", transparency=0),
        lambda: np.where(codes()[..., None] == 0, 255, COLOURS[codes()]),
        0,
    ),
    "grey, one value clear": (
        "x.png",
        lambda: encoded(codes() * 20, "PNG", transparency=40),
        lambda: repeated(np.where(codes() == 2, 255, codes() * 20)),
        0,
    ),
    "16-bit grey": (
        "x.png",
        lambda: encoded(SIXTEEN, "PNG"),
        lambda: repeated(SIXTEEN / 257),
        0.5,
    ),
    "16-bit grey, big-endian": (
        "x.tif",
        lambda: encoded(
            Image.frombytes("I;16B", (30, 20), SIXTEEN.astype(">u2").tobytes()), "TIFF"
        ),
        lambda: repeated(SIXTEEN / 257),
        0.5,
    ),
    "32-bit integers": (
        "x.tif",
        lambda: encoded(SIXTEEN.astype(np.int32), "TIFF"),
        lambda: repeated(SIXTEEN / 257),
        0.5,
    ),
    "floats of 0 to 1": ("x.tif", lambda: floats(1), lambda: repeated(picture()[..., 0]), 0.5),
    "CMYK JPEG": ("x.jpg", cmyk_jpeg, lambda: light_of(ink()), 4),
    "CMYK JPEG, ink not inverted": (
        "x.jpg",
        lambda: without_adobe_marker(cmyk_jpeg()),
        lambda: light_of(255 - ink()),
        4,
    ),
    "CMYK TIFF": (
        "x.tif",
        lambda: encoded(Image.fromarray(ink(), mode="CMYK"), "TIFF"),
        lambda: light_of(ink()),
        1,
    ),
    "JPEG": ("x.jpg", lambda: encoded(picture(), "JPEG", quality=98, subsampling=0), picture, 4),
    "WebP": ("x.webp", lambda: encoded(picture(), "WEBP", lossless=True), picture, 0),
    "animated PNG": ("x.png", lambda: frames("PNG"), picture, 0),
    "animated WebP": ("x.webp", lambda: frames("WEBP"), picture, 0),
    "animated GIF": ("x.gif", lambda: frames("GIF"), picture, 24),
    "a wrong suffix": ("x.jpg", lambda: encoded(picture(), "PNG"), picture, 0),
    "an odd name": ("…'\"<b>&🩺 %2e.png", lambda: encoded(picture(), "PNG"), picture, 0),
    "damaged EXIF": (
        "x.png",
        lambda: encoded(picture(), "PNG", exif=b"Exif\0\0MM\0*bad"),
        picture,
        0,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_is_read_rightly(tiny: Fixture, name: str) -> None:
    file, content, expected, tolerance = READ[name]
    put(tiny, "path", file, content())

    example = tiny.open().load(7)

    assert example.picture.dtype == np.uint8
    assert example.picture.shape == (20, 30, 3)
    np.testing.assert_allclose(example.picture, expected(), atol=tolerance + 1e-9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_rotation_is_applied(tiny: Fixture, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    put(
        tiny,
        "path",
        f"turned.{kind.lower()}",
        encoded(picture(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else options)),
    )
    # An independent table: where the stored picture's rows and columns go (EXIF 2.3, 4.6.4 A).
    upright = {
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.fliplr(np.rot90(a, -1)),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.fliplr(np.rot90(a)),
        8: np.rot90,
    }.get(orientation, lambda a: a)
    Image.fromarray(np.ascontiguousarray(upright(codes()))).save(mask(tiny))

    example = tiny.open().load(7)

    np.testing.assert_allclose(example.picture, upright(picture()), atol=4)
    np.testing.assert_array_equal(example.masks[0], upright(codes() == 1))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_stored_picture_is_turned_with_it(tiny: Fixture, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    marked = np.repeat(((codes() == 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    put(tiny, "path", "turned.png", encoded(marked, "PNG", exif=exif))

    example = tiny.open().load(7)

    assert example.picture.shape == (30, 20, 3)
    np.testing.assert_array_equal(example.picture[..., 0] == 255, example.masks[0])


MASKS: dict[str, Callable[[], Image.Image]] = {
    "8 bits": lambda: Image.fromarray(codes()),
    "16 bits": lambda: Image.fromarray(codes().astype(np.uint16)),
    "palette": palette,
    "RGB of equal channels": lambda: Image.fromarray(repeated(codes())),
    "opaque grey and alpha": lambda: Image.merge(
        "LA", [Image.fromarray(codes()), Image.new("L", (30, 20), 255)]
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_mask_holds_exact_codes(tiny: Fixture, name: str) -> None:
    MASKS[name]().save(mask(tiny))

    masks = tiny.open().load(7).masks

    np.testing.assert_array_equal(masks, [codes() == 1, np.isin(codes(), (2, 3))])


def test_one_bit_mask_has_the_codes_0_and_1(tiny: Fixture) -> None:
    for row in tiny.rows:
        Image.fromarray(codes() == 1).save(tiny.folder / row["mask"])
    tiny.regions = {"source": {"encoding": "codes", "values": {"face": 1}}}

    np.testing.assert_array_equal(tiny.open().load(7).masks, [codes() == 1])


def test_random_damage_never_escapes_as_another_error(tiny: Fixture) -> None:
    rng = np.random.default_rng(0)
    good = {
        "path": [encoded(picture(), kind) for kind in FORMATS],
        "mask": [encoded(codes(), kind) for kind in EXACT_FORMATS],
    }
    base, tiny.rows = tiny.rows, list(tiny.rows)
    for column, contents in good.items():
        for index in range(240):
            content = bytearray(contents[index % len(contents)])
            for place in rng.integers(0, len(content), rng.integers(1, 6)):
                content[place] = rng.integers(0, 256)
            row = {**base[-1], "sample_id": f"{column}-{index}"}
            row[column] = f"{column}-{index}"
            (tiny.folder / row[column]).write_bytes(content)
            tiny.rows.append(row)

    samples, _ = check_dataset(tiny.open(), workers=2)

    reasons = samples.loc[samples["status"] == "quarantined", "reason"].map(kind_of)
    assert len(reasons) > 100
    assert set(reasons) <= set(Kind)
