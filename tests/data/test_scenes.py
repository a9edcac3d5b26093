"""The demo scenes: exact counts, exact masks, the same bytes for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from audit.config import Scenes
from audit.data.scenes import (
    CLASSES,
    GENDERS,
    REGION_CODES,
    SKIN_TONES,
    generate,
    painter,
    plan,
)
from audit.data.scenes.canvas import Code, Pen
from audit.data.scenes.hair import LONG, SHORT, STYLES
from audit.data.scenes.painter import SUPERSAMPLING, Scene, paint
from audit.data.scenes.places import PLACES
from audit.data.scenes.tools import TOOLS
from audit.errors import DataError

SMALL = Scenes(train=24, audit=40, size=112)


def _scene(**changes: str) -> Scene:
    values = {
        "label": "doctor",
        "gender": "woman",
        "skin_tone": "brown",
        "tool": "stethoscope",
        "hair_style": "waves",
        "background": "ward",
    }
    return Scene(**(values | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "scenes", SMALL, workers=1)


def _rows(folder: Path) -> list[tuple[pd.Series, np.ndarray, np.ndarray]]:
    table = pd.read_csv(folder / "manifest.csv")
    return [
        (
            row,
            np.asarray(Image.open(folder / row["path"])),
            np.asarray(Image.open(folder / row["mask"])),
        )
        for _, row in table.iterrows()
    ]


# ---------------------------------------------------------------- which scenes


@given(
    train=st.integers(4, 400),
    men=st.floats(0, 1),
    women=st.floats(0, 1),
)
@settings(max_examples=15, deadline=None)
def test_training_counts_are_exact(train: int, men: float, women: float) -> None:
    table = plan(Scenes(train=train, audit=4, men_among_doctors=men, women_among_nurses=women))
    table = table[table["split"] == "train"]
    doctors, nurses = (table[table["label"] == name] for name in CLASSES)
    assert (len(doctors), len(nurses)) == (train // 2, train - train // 2)
    assert (doctors["gender"] == "man").sum() == round(len(doctors) * men)
    assert (nurses["gender"] == "woman").sum() == round(len(nurses) * women)


def test_audit_cells_are_balanced() -> None:
    table = plan(Scenes(train=4, audit=960))
    cells = table[table["split"] == "test"].groupby(["label", "gender", "skin_tone"]).size()
    assert len(cells) == len(CLASSES) * len(GENDERS) * len(SKIN_TONES)
    assert (cells == 48).all()


def test_a_ragged_audit_set_is_as_balanced_as_it_can_be() -> None:
    table = plan(Scenes(train=4, audit=31))
    table = table[table["split"] == "test"]
    cells = table.groupby(["label", "gender", "skin_tone"]).size()
    assert cells.max() - cells.min() <= 1
    assert len(table) == 31


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("label", CLASSES)
def test_tools_tell_the_class_and_not_the_gender(split: str, label: str) -> None:
    table = plan(Scenes(train=1600, audit=960))
    table = table[(table["split"] == split) & (table["label"] == label)]
    assert set(table["tool"]) == set(TOOLS[label])
    parts = pd.crosstab(table["gender"], table["tool"], normalize="index")
    counts = table["gender"].value_counts()
    # Tools take turns, so a gender has each equally often, up to one turn per skin tone.
    excess = parts.sub(1 / len(TOOLS[label])).abs().max(axis=1)
    assert excess.le(5 / counts).all()


def test_no_tool_belongs_to_both_classes() -> None:
    assert not set(TOOLS["doctor"]) & set(TOOLS["nurse"])


def test_hair_style_leans_on_gender_without_deciding_it() -> None:
    table = plan(Scenes(train=4, audit=2000))
    short = table["hair_style"].isin(SHORT).groupby(table["gender"]).mean()
    assert 0.90 < short["man"] < 0.98
    assert 0.02 < short["woman"] < 0.10
    for gender in GENDERS:
        assert set(table.loc[table["gender"] == gender, "hair_style"]) == {*SHORT, *LONG}


def test_background_is_independent_of_class_and_gender() -> None:
    table = plan(Scenes(train=4, audit=4000))
    parts = pd.crosstab([table["label"], table["gender"]], table["background"], normalize="index")
    assert set(parts) == set(PLACES)
    # Four standard errors of a share of 1/6 among 1000.
    assert parts.sub(1 / len(PLACES)).abs().to_numpy().max() < 4 * (5 / 36 / 1000) ** 0.5


# ---------------------------------------------------------------- pictures and masks


def test_manifest_names_files_that_exist_and_fit(folder: Path) -> None:
    rows = _rows(folder)
    assert len(rows) == SMALL.train + SMALL.audit
    assert len({row["cluster_id"] for row, _, _ in rows}) == len(rows)
    for _, picture, mask in rows:
        assert picture.shape == (112, 112, 3)
        assert picture.dtype == np.uint8
        assert mask.shape == (112, 112)
        assert set(np.unique(mask)) <= set(REGION_CODES.values())


@pytest.mark.parametrize(
    ("region", "least"), [("face", 250), ("hair", 90), ("clothing", 1000), ("tools", 60)]
)
def test_every_region_is_large_enough_to_measure(folder: Path, region: str, least: int) -> None:
    sizes = [int((mask == REGION_CODES[region]).sum()) for _, _, mask in _rows(folder)]
    assert min(sizes) >= least


def test_the_tool_spans_twenty_by_twelve_pixels(folder: Path) -> None:
    for row, _, mask in _rows(folder):
        ys, xs = np.nonzero(mask == Code.TOOLS)
        spans = sorted([np.ptp(ys) + 1, np.ptp(xs) + 1])
        assert spans[1] >= 20, row["tool"]
        assert spans[0] >= 12, row["tool"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("gender", GENDERS)
def test_every_style_can_be_worn_by_everyone(style: str, gender: str) -> None:
    _, mask = paint(_scene(gender=gender, hair_style=style), np.random.default_rng(3), 112)
    assert set(np.unique(mask)) == set(REGION_CODES.values())


@pytest.mark.parametrize(
    ("label", "tool"), [(label, tool) for label, tools in TOOLS.items() for tool in tools]
)
def test_masks_are_exact(label: str, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recolouring all strokes of a region changes the drawing in its mask and nowhere else."""
    scene = _scene(label=label, tool=tool)
    drawn = painter._figure(scene, np.random.default_rng(5), 112)
    codes = np.asarray(drawn.getchannel("A"))
    for code in (Code.FACE, Code.HAIR, Code.CLOTHING, Code.TOOLS, Code.SKIN):
        with monkeypatch.context() as patch:
            _recolour(patch, code)
            other = painter._figure(scene, np.random.default_rng(5), 112)
        changed = ImageChops.difference(drawn.convert("RGB"), other.convert("RGB"))
        assert np.array_equal(np.asarray(changed).any(axis=2), codes == code)
        assert np.array_equal(np.asarray(other.getchannel("A")), codes)


def _recolour(patch: pytest.MonkeyPatch, code: Code) -> None:
    """Strokes of this region come in a colour that no drawing uses."""
    for name in ("fill", "line"):
        stroke = getattr(Pen, name)

        def recoloured(self: Pen, points, *rest, stroke=stroke):  # type: ignore[no-untyped-def]
            *width, colour = rest
            stroke(self, points, *width, (1, 255, 2) if self.code == code else colour)

        patch.setattr(Pen, name, recoloured)


def test_picture_and_mask_are_aligned() -> None:
    """The mask is the centre pixel of each averaged block of the same drawing."""
    scene = _scene()
    figure = painter._figure(scene, np.random.default_rng(11), 112)
    codes = np.asarray(figure.getchannel("A"))
    half = SUPERSAMPLING // 2
    _, mask = paint(scene, np.random.default_rng(11), 112)
    assert np.array_equal(mask, codes[half::SUPERSAMPLING, half::SUPERSAMPLING])


@pytest.mark.parametrize("size", [32, 96, 113])
def test_any_size_shows_the_same_scene(size: int) -> None:
    picture, mask = paint(_scene(), np.random.default_rng(2), size)
    _, reference = paint(_scene(), np.random.default_rng(2), 112)
    assert picture.shape == (size, size, 3)
    for code in Code:
        assert np.mean(mask == code) == pytest.approx(np.mean(reference == code), abs=0.02)


# ---------------------------------------------------------------- writing


def test_same_seed_same_bytes_whatever_the_number_of_workers(folder: Path, tmp_path: Path) -> None:
    counts: list[int] = []
    again = generate(tmp_path / "again", SMALL, workers=2, progress=counts.append)
    assert counts[-1] == SMALL.train + SMALL.audit
    assert counts == sorted(set(counts))
    assert _contents(again) == _contents(folder)


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_another_seed_draws_other_pictures(folder: Path, tmp_path: Path) -> None:
    tiny = Scenes(train=4, audit=4, seed=1)
    other = generate(tmp_path / "other", tiny, workers=1)
    name = "images/test-00000.png"
    assert (other / name).read_bytes() != (folder / name).read_bytes()


def test_a_picture_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    fewer = generate(tmp_path / "fewer", Scenes(train=4, audit=20), workers=1)
    table, full = (pd.read_csv(f / "manifest.csv").set_index("sample_id") for f in (fewer, folder))
    name = "test-00007"
    assert table.loc[name].equals(full.loc[name])
    path = table.loc[name, "path"]
    assert (fewer / path).read_bytes() == (folder / path).read_bytes()


def test_a_complete_folder_is_kept(tmp_path: Path) -> None:
    tiny = Scenes(train=4, audit=4)
    folder = generate(tmp_path / "scenes", tiny, workers=1)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    calls: list[int] = []
    assert generate(folder, tiny, workers=1, progress=calls.append) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert calls == []


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "beach.txt").write_text("sun")
    with pytest.raises(DataError, match="name another folder"):
        generate(folder, Scenes(train=4, audit=4), workers=1)
    assert [path.name for path in tmp_path.rglob("*")] == ["holiday", "beach.txt"]


def test_scenes_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    folder = generate(tmp_path / "scenes", Scenes(train=4, audit=4), workers=1)
    with pytest.raises(DataError, match="name another folder"):
        generate(folder, Scenes(train=4, audit=4, men_among_doctors=0.5), workers=1)


def test_a_stopped_drawing_leaves_nothing(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        generate(tmp_path / "scenes", SMALL, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []
