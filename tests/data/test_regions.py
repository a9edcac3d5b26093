"""Each region encoding against a slow, obvious reading of the same annotation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as rle

from audit.data.images import Frame
from audit.data.reasons import Kind, kind_of
from audit.data.regions import ENCODINGS
from audit.data.regions.boxes import box_mask
from audit.data.regions.coco import _run_lengths
from audit.errors import BadSample, DataError
from tests.data.conftest import HEIGHT, WIDTH, Fixture, codes

steady = settings(deadline=None, derandomize=True)


def only(tiny: Fixture, column: str, texts: dict[str, str]) -> None:
    """Give every row columns, empty except in the victim's."""
    for row in tiny.rows:
        row.update(dict.fromkeys(texts, ""))
    tiny.victim.update(texts)


def rejected(tiny: Fixture) -> str:
    dataset = tiny.open()
    with pytest.raises(BadSample) as error:
        dataset.load(7)
    return kind_of(str(error.value))


# ------------------------------------------------------------------ boxes

BOX = {"l": "3", "t": "2.4", "r": "9.5", "b": "12.5"}


def boxed(tiny: Fixture, **changes: str) -> None:
    tiny.regions = {
        "source": {
            "encoding": "boxes",
            "columns": {"face": ["l", "t", "r", "b"], "hat": ["l2", "t2", "r2", "b2"]},
        }
    }
    only(tiny, "boxes", {**BOX, "l2": "0", "t2": "0", "r2": "1", "b2": "1", **changes})


def test_a_box_holds_the_pixels_whose_centre_it_holds(tiny: Fixture) -> None:
    boxed(tiny)
    expected = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            expected[0, y, x] = 3 <= x + 0.5 < 9.5 and 2.4 <= y + 0.5 < 12.5
    expected[1, 0, 0] = True
    np.testing.assert_array_equal(tiny.open().load(7).masks, expected)


def test_a_box_is_clipped_to_the_picture(tiny: Fixture) -> None:
    boxed(tiny, l="-3", r="4000", t="-0.5", b="1e9")
    assert tiny.open().load(7).masks[0].all()


@pytest.mark.parametrize("missing", ["", "NaN", "nan"])
def test_a_box_without_coordinates_is_an_empty_region(tiny: Fixture, missing: str) -> None:
    boxed(tiny, **dict.fromkeys("ltrb", missing))
    masks = tiny.open().load(7).masks
    assert not masks[0].any()
    assert masks[1].sum() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"r": "2"},
        {"b": "1"},
        {"l": ""},
        {"l": "left"},
        {"r": "inf"},
        {"l": "30"},
        {"r": "0", "l": "-5"},
        {"l": "1e400"},
    ],
)
def test_a_wrong_box_is_a_bad_sample(tiny: Fixture, change: dict[str, str]) -> None:
    boxed(tiny, **change)
    assert rejected(tiny) == Kind.BAD_BOX


@steady
@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))
def test_whole_pixel_boxes_have_their_area(top: int, left: int, height: int, width: int) -> None:
    mask = box_mask(left, top, left + width, top + height, (30, 30))
    assert mask.sum() == height * width
    assert mask[top, left]
    assert mask[top + height - 1, left + width - 1]


# -------------------------------------------------------------- landmarks


def landmarked(tiny: Fixture, **changes: str) -> None:
    tiny.regions = {
        "source": {
            "encoding": "landmarks",
            "columns": {"eyes": [["x1", "y1"], ["x2", "y2"]], "mouth": [["x3", "y3"]]},
            "radius": 3.2,
        }
    }
    points = {"x1": "5", "y1": "6.5", "x2": "11", "y2": "6", "x3": "-1", "y3": "19"}
    only(tiny, "landmarks", {**points, **changes})


def test_landmarks_are_discs(tiny: Fixture) -> None:
    landmarked(tiny)
    expected = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            first = np.hypot(x + 0.5 - 5, y + 0.5 - 6.5) <= 3.2
            second = np.hypot(x + 0.5 - 11, y + 0.5 - 6) <= 3.2
            expected[:, y, x] = first or second, np.hypot(x + 1.5, y + 0.5 - 19) <= 3.2
    np.testing.assert_array_equal(tiny.open().load(7).masks, expected)


def test_a_missing_landmark_is_left_out(tiny: Fixture) -> None:
    landmarked(tiny)
    whole = tiny.open().load(7).masks
    landmarked(tiny, x1="", y1="nan", x3="", y3="")
    masks = tiny.open().load(7).masks
    assert 0 < masks[0].sum() < whole[0].sum()
    assert not masks[1].any()


@pytest.mark.parametrize("change", [{"x1": ""}, {"y3": "low"}, {"x2": "inf"}])
def test_a_wrong_landmark_is_a_bad_sample(tiny: Fixture, change: dict[str, str]) -> None:
    landmarked(tiny, **change)
    assert rejected(tiny) == Kind.BAD_LANDMARK


# ------------------------------------------------------------------ masks


def separate(tiny: Fixture) -> None:
    tiny.regions = {
        "source": {"encoding": "masks", "columns": {"face": "face_mask", "tool": "tool_mask"}}
    }
    for name, inside in (("face", codes() == 1), ("tool", codes() == 2)):
        # Non-zero is inside, whatever the value.
        Image.fromarray(inside * np.uint8(7)).save(tiny.folder / f"{name}.png")
    for row in tiny.rows:
        row |= {"face_mask": "face.png", "tool_mask": "tool.png"}


def test_separate_masks(tiny: Fixture) -> None:
    separate(tiny)
    np.testing.assert_array_equal(tiny.open().load(7).masks, [codes() == 1, codes() == 2])


def test_no_path_means_that_the_region_is_not_there(tiny: Fixture) -> None:
    separate(tiny)
    tiny.victim["tool_mask"] = ""
    assert tiny.open().load(7).masks.any(axis=(1, 2)).tolist() == [True, False]


def test_no_path_at_all_means_not_annotated(tiny: Fixture) -> None:
    separate(tiny)
    tiny.victim.update(face_mask="", tool_mask="")
    assert rejected(tiny) == Kind.MISSING_MASK


# ------------------------------------------------------------------- coco

TRIANGLE = [4.0, 3.0, 22.0, 5.0, 9.0, 17.0]


def coco(tiny: Fixture, annotations: list[dict], **image: object) -> None:
    tiny.regions = {
        "source": {
            "encoding": "coco",
            "file": "coco.json",
            "categories": {"face": "face", "tool": ["syringe", "pen"]},
        }
    }
    images = [
        {
            "id": index,
            "file_name": Path(row["path"]).name,
            "height": HEIGHT,
            "width": WIDTH,
        }
        for index, row in enumerate(tiny.rows)
    ]
    images[-1] |= image
    content = {
        "images": images,
        "categories": [
            {"id": 11, "name": "face"},
            {"id": 12, "name": "syringe"},
            {"id": 13, "name": "pen"},
            {"id": 14, "name": "cat"},
        ],
        "annotations": [{"id": 100 + i, "image_id": 7, **a} for i, a in enumerate(annotations)],
    }
    (tiny.folder / "coco.json").write_text(json.dumps(content))


def compressed(mask: np.ndarray) -> dict:
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return {"size": list(mask.shape), "counts": runs}


def inside_triangle() -> tuple[np.ndarray, np.ndarray]:
    """Pixels whose centre is in the triangle, and the pixels near its edges."""
    points = np.array(TRIANGLE).reshape(3, 2)
    inside = np.ones((HEIGHT, WIDTH), dtype=bool)
    near = np.zeros((HEIGHT, WIDTH), dtype=bool)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        along = b - a
        side = (along[0] * (y - a[1]) - along[1] * (x - a[0])) / np.hypot(*along)
        inside &= side >= 0
        near |= np.abs(side) < 1
    return inside, near


def test_coco_polygon_box_and_runs(tiny: Fixture) -> None:
    coco(
        tiny,
        [
            {"category_id": 11, "segmentation": [TRIANGLE]},
            {"category_id": 12, "segmentation": compressed(codes() == 2)},
            {"category_id": 13, "segmentation": uncompressed(codes() == 3)},
            {"category_id": 13, "bbox": [1, 2, 3, 4]},
            {"category_id": 14, "bbox": [0, 0, 30, 20]},
        ],
    )
    box = np.zeros((HEIGHT, WIDTH), dtype=bool)
    box[2:6, 1:4] = True

    face, tool = tiny.open().load(7).masks

    np.testing.assert_array_equal(tool, np.isin(codes(), (2, 3)) | box)
    inside, near = inside_triangle()
    np.testing.assert_array_equal(face[~near], inside[~near])
    assert face.sum() == pytest.approx(inside.sum(), rel=0.1)


def test_coco_picture_without_annotations_has_empty_regions(tiny: Fixture) -> None:
    coco(tiny, [{"category_id": 11, "segmentation": [TRIANGLE]}])
    dataset = tiny.open()
    assert dataset.load(7).masks.any()
    assert dataset.load(6).masks.shape == (2, HEIGHT, WIDTH)
    assert not dataset.load(6).masks.any()


@pytest.mark.parametrize(
    "annotation",
    [
        {"segmentation": [[1, 2, 3, 4]]},
        {"segmentation": [[1, 2, 3, 4, 5, 6, 7]]},
        {"segmentation": [[1, 2, 3, 4, 5, "x"]]},
        {"segmentation": [[1, 2, 3, 4, 5, 1e9]]},
        {"segmentation": [[1, 2, 3, 4, 5, float("nan")]]},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "zzzz"}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": ""}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 6]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [700, -100]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [2**62] * 4 + [600]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [2**63, 600]}},
        {"segmentation": {"size": [WIDTH, HEIGHT], "counts": [600]}},
        {"segmentation": {"counts": [600]}},
        {"segmentation": []},
        {"bbox": [1, 2]},
        {"bbox": None},
    ],
)
def test_a_wrong_annotation_is_a_bad_sample(tiny: Fixture, annotation: dict) -> None:
    coco(tiny, [{"category_id": 11, **annotation}])
    assert rejected(tiny) == Kind.BAD_ANNOTATION


def test_a_coco_file_of_another_picture_size_is_a_bad_sample(tiny: Fixture) -> None:
    coco(tiny, [], height=HEIGHT * 2)
    assert rejected(tiny) == Kind.MASK_SIZE


def test_a_picture_that_the_coco_file_lacks_is_a_bad_sample(tiny: Fixture) -> None:
    coco(tiny, [], file_name="another.png")
    assert rejected(tiny) == Kind.MISSING_ANNOTATION


def test_a_name_that_two_folders_share_identifies_neither(tiny: Fixture) -> None:
    coco(tiny, [])
    (tiny.folder / "other").mkdir()
    (tiny.folder / "other" / "sample-7.png").write_bytes(
        (tiny.folder / tiny.victim["path"]).read_bytes()
    )
    tiny.rows[-2]["path"] = "other/sample-7.png"
    assert rejected(tiny) == Kind.MISSING_ANNOTATION


def test_a_category_may_be_named_by_a_number(tiny: Fixture) -> None:
    coco(tiny, [{"category_id": 14, "bbox": [1, 2, 3, 4]}])
    path = tiny.folder / "coco.json"
    path.write_text(path.read_text().replace('"cat"', "7"))
    tiny.regions["source"]["categories"] = {"face": "7"}
    assert tiny.open().load(7).masks.sum() == 12


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot read"), ("[]", "not in COCO format"), ('{"categories": []}', "no category")],
)
def test_an_unusable_coco_file_stops_the_audit(tiny: Fixture, content: str, message: str) -> None:
    coco(tiny, [])
    (tiny.folder / "coco.json").write_text(content)
    with pytest.raises(DataError, match=message):
        tiny.open()


@steady
@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_agree_with_the_reference_encoder(mask: np.ndarray) -> None:
    for code in (compressed(mask), uncompressed(mask)):
        np.testing.assert_array_equal(_run_lengths(code, mask.shape), mask)


# ---------------------------------------------------------------- derived


def test_derived_regions_follow_the_annotated_ones(tiny: Fixture) -> None:
    tiny.regions |= {
        "derived": {
            "person": {"union": ["face", "tool"]},
            "background": {"outside": ["face", "tool"]},
            "faceless": {"outside": ["face"]},
        }
    }
    dataset = tiny.open()
    assert dataset.regions == ["face", "tool", "person", "background", "faceless"]
    face, tool = codes() == 1, np.isin(codes(), (2, 3))
    np.testing.assert_array_equal(
        dataset.load(7).masks, [face, tool, face | tool, ~(face | tool), ~face]
    )


# -------------------------------------------------- what every encoding does

PREPARE = {
    "codes": lambda tiny: None,
    "masks": separate,
    "boxes": boxed,
    "landmarks": landmarked,
    "coco": lambda tiny: coco(tiny, []),
}


def test_every_encoding_is_covered_here() -> None:
    assert set(PREPARE) == set(ENCODINGS)


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_gives_boolean_masks_of_the_picture(tiny: Fixture, name: str) -> None:
    PREPARE[name](tiny)
    dataset = tiny.open()
    masks = dataset.load(7).masks
    assert masks.dtype == np.bool_
    assert masks.shape == (len(dataset.regions), HEIGHT, WIDTH)


@pytest.mark.parametrize("name", sorted(set(ENCODINGS) - {"coco"}))
def test_an_encoding_names_the_column_it_lacks(tiny: Fixture, name: str) -> None:
    PREPARE[name](tiny)
    source = tiny.config().regions.source
    wanted = {"codes": "mask", "masks": "face_mask", "boxes": "l", "landmarks": "x1"}[name]
    assert source.encoding == name
    for row in tiny.rows:
        del row[wanted]
    with pytest.raises(DataError, match=f"no column '{wanted}'; available are: .*sample_id"):
        tiny.open()


@pytest.mark.parametrize(
    ("size", "orientation", "expected"),
    [
        ((4, 4), 1, False),
        ((4, 6), 1, False),
        ((4, 6), 3, True),
        ((4, 6), 6, False),
        ((4, 4), 6, True),
    ],
)
def test_a_frame_knows_whether_sizes_tell_it_from_the_stored_one(
    size: tuple[int, int], orientation: int, expected: bool
) -> None:
    assert Frame(size, orientation).ambiguous == expected


def test_a_mask_of_the_stored_picture_is_turned() -> None:
    stored = np.arange(6).reshape(2, 3)
    assert Frame((3, 2), 6).upright(stored).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert Frame((3, 2), 8).upright(stored).tolist() == [[2, 5], [1, 4], [0, 3]]
