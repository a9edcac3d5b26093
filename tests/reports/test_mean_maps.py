"""Mean maps: those of the slow loop, honest about small cells, and drawn in the browser."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from audit import tables
from audit.errors import RunError
from reports import averaging
from reports import mean_maps as module
from reports.build import build_report
from reports.mean_maps import mean_maps
from reports.run import read_run
from tests.oracles import mean_maps as oracle
from tests.reports.browser import EXECUTABLE, Page, chromium
from tests.reports.factory import REGIONS, make_run

GRID = (5, 6)
NAMES = sorted(REGIONS)  # as the configuration has them
FACE = NAMES.index("face")
LEAST = 4
READY = "document.documentElement?.dataset.charts === 'ready'"
TILES = "[...document.querySelectorAll('#mean-maps .mean-cells figure')]"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with uneven clusters, maps that differ with them, moving regions and dead maps."""
    folder = make_run(tmp_path / "run", samples=80, pictures=0)
    rng = np.random.default_rng(3)
    samples = tables.read_table(folder / "samples.parquet", tables.SAMPLES)
    number = np.arange(len(samples))
    samples["cluster_id"] = np.where(number % 3 == 0, "large", [f"c{i // 5}" for i in number])
    tables.write_table(samples, tables.SAMPLES, folder / "samples.parquet")
    audited = samples[(samples["part"] == "audit") & (samples["status"] == tables.OK)]
    rows = []
    for i, row in enumerate(audited.to_dict("records")):
        raw = rng.uniform(-1, 0.5, GRID)
        raw[:2] += 4 * (row["cluster_id"] == "large")
        masks = np.zeros((len(REGIONS), *GRID))
        top, left = rng.integers(0, 4), rng.integers(0, 4)
        masks[FACE, top : top + 2, left : left + 2] = rng.uniform(0.6, 1)
        masks[NAMES.index("hair"), 0, 0] = 1  # too small to be measured
        masks[NAMES.index("tools"), 1:3, :2] = i % 4 != 0  # not in every picture
        masks[NAMES.index("background")] = 1
        for explained, values in (("true", -abs(raw) if i % 11 == 0 else raw), ("predicted", -raw)):
            rows.append(
                {
                    "sample_id": row["sample_id"], "explained": explained,
                    "target_class": row["label"], "height": GRID[0], "width": GRID[1],
                    "map": values.reshape(-1).astype(np.float32),
                    "masks": masks.reshape(-1).astype(np.float16),
                }
            )  # fmt: skip
    tables.write_table(pd.DataFrame(rows), tables.MAPS, folder / "maps.parquet")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["policy"] = {"min_clusters": LEAST}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def made(folder: Path) -> dict[str, Any]:
    found = mean_maps(read_run(folder))
    assert found is not None
    return found


def decoded(cell: list[Any], frame: dict[str, Any]) -> np.ndarray:
    content = np.frombuffer(base64.b64decode(cell[-1]), np.uint8).reshape(frame["size"])
    values: np.ndarray = (content / 254.0) ** 2 * frame["peak"]
    return np.where(content == 255, np.nan, values)


def cells_by_loop(folder: Path) -> Iterator[tuple[tuple[int, int, int], pd.DataFrame]]:
    """Rows of samples with map and masks: by attribute, class and level of the page's order."""
    run = read_run(folder)
    maps = tables.read_table(folder / "maps.parquet", tables.MAPS, where={"explained": "true"})
    joined = run.audited.merge(maps, on="sample_id")
    page = made(folder)["maps"]
    for a, attribute in enumerate(page["attributes"]):
        for c, label in enumerate(page["classes"]):
            own = joined[joined["label"] == label]
            for k, level in enumerate(attribute["levels"]):
                column = tables.attribute_column(attribute["name"])
                yield (a, c, k), own if a == 0 else own[own[column] == level]


@pytest.mark.parametrize("batch", [1, 7])  # of 1: some hold nothing that a frame can use
def test_means_and_counts_are_those_of_the_slow_loop(
    run: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(averaging, "_BATCH", batch)
    monkeypatch.setattr(averaging, "SIDE", 6)
    page = made(run)["maps"]
    assert [frame["region"] for frame in page["frames"]] == [None, "face", "tools"]
    compared = naive_differs = 0
    for (a, c, k), rows in cells_by_loop(run):
        for frame in page["frames"]:
            region = NAMES.index(frame["region"] or "face")
            clusters: dict[str, list[oracle.Sample]] = {}
            dead = absent = 0
            for row in rows.to_dict("records"):
                raw = np.asarray(row["map"], float).reshape(GRID)
                mask = np.asarray(row["masks"], float).reshape(-1, *GRID)[region]
                if not (raw > 0).any():
                    dead += 1
                elif frame["region"] is not None and mask.sum() < 1.99:
                    absent += 1
                else:
                    clusters.setdefault(row["cluster_id"], []).append((raw, mask))
            cell = frame["cells"][a][c][k]
            n = sum(len(own) for own in clusters.values())
            assert cell[:4] == [n, len(clusters), dead, absent]
            assert (cell[4] is None) == (len(clusters) < LEAST)
            if cell[4] is None:
                continue
            if frame["region"] is None:
                wanted = oracle.picture_mean(clusters)
                naive = np.mean(
                    [oracle.density(raw) for own in clusters.values() for raw, _ in own], 0
                )
                naive_differs += abs(naive - wanted).max() > 0.05 * frame["peak"]
            else:
                wanted = oracle.aligned_mean(clusters, averaging.SIDE)
            np.testing.assert_allclose(decoded(cell, frame), wanted, atol=0.005 * frame["peak"])
            compared += 1
    assert compared >= 12
    assert naive_differs > 0  # so a mean over samples would have been noticed


def test_a_missing_attribute_is_a_level_too(run: Path) -> None:
    samples = tables.read_table(run / "samples.parquet", tables.SAMPLES)
    column = tables.attribute_column("gender")
    samples[column] = samples[column].astype(object).where(samples.index % 5 > 0)
    tables.write_table(samples, tables.SAMPLES, run / "samples.parquet")
    (gender,) = (one for one in made(run)["maps"]["attributes"] if one["name"] == "gender")
    assert gender["levels"] == ["man", "woman", tables.UNKNOWN]


def test_a_region_that_nobody_looks_at_has_a_mean_of_zero(run: Path) -> None:
    maps = tables.read_table(run / "maps.parquet", tables.MAPS)
    face, corner = np.zeros((len(REGIONS), *GRID)), np.zeros(GRID)
    face[FACE, :2, :2], corner[-1, -1] = 1, 1
    for column, value in (("masks", face), ("map", corner)):
        maps[column] = [value.reshape(-1)] * len(maps)
    tables.write_table(maps, tables.MAPS, run / "maps.parquet")
    _, frame = made(run)["maps"]["frames"]
    values = decoded(frame["cells"][0][0][0], frame)
    assert np.nanmax(values) == 0


def test_outlines_are_the_mean_masks_of_a_class(run: Path) -> None:
    page = made(run)["maps"]
    outline = page["outlines"][0]
    assert outline["region"] == "face"
    for (a, c, _), rows in cells_by_loop(run):
        if a:
            continue
        clusters: dict[str, list[np.ndarray]] = {}
        for row in rows.to_dict("records"):
            if (np.asarray(row["map"]) > 0).any():
                mask = np.asarray(row["masks"], float).reshape(-1, *GRID)[FACE]
                clusters.setdefault(row["cluster_id"], []).append(mask)
        mean = np.mean([np.mean(own, 0) for own in clusters.values()], 0)
        drawn = decoded([outline["maps"][c]], {"size": GRID, "peak": 1})
        np.testing.assert_allclose(drawn, mean / mean.max(), atol=0.005)


def test_classes_with_the_widest_gap_come_first_and_limits_are_told(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = made(run)["maps"]
    assert page["classes"] == ["doctor", "nurse"]  # 0.62 against 0.93 among the doctors
    assert page["gaps"][0] == pytest.approx(0.31, abs=0.05)
    assert page["gaps"][1] < 0.05
    monkeypatch.setattr(module, "CLASSES", 1)
    monkeypatch.setattr(module, "BUDGET", 1)
    capped = made(run)
    assert capped["maps"]["classes"] == ["doctor"]
    assert [frame["region"] for frame in capped["maps"]["frames"]] == [None]
    assert (capped["classes_left_out"], capped["regions_left_out"]) == (1, 2)


def test_a_run_without_maps_has_no_such_section(run: Path) -> None:
    tables.write_table(tables.empty(tables.MAPS), tables.MAPS, run / "maps.parquet")
    assert mean_maps(read_run(run)) is None
    (run / "maps.parquet").unlink()
    assert mean_maps(read_run(run)) is None
    assert 'id="mean_maps"' not in build_report(run).read_text(encoding="utf-8")


def test_a_broken_table_is_named(run: Path) -> None:
    (run / "maps.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunError, match=r"maps\.parquet: not a table of maps"):
        mean_maps(read_run(run))


def narrow(page: Page, name: str, wanted: str) -> None:
    """Choose in the page's filter, by the name of a class or subgroup."""
    page.evaluate(
        "((name, wanted) => { const s = document.querySelector(`#filter [name=${name}]`);"
        "s.selectedIndex = [...s.options].findIndex("
        "(one) => (one.dataset.subgroup ?? one.value) === wanted);"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })"
        f"({name!r}, {wanted!r})"
    )


@pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")
def test_the_page_draws_compares_and_greys(failed: Path, hostile: Path, tmp_path: Path) -> None:
    def choose(label: str, value: str) -> None:
        page.evaluate(
            "((label, value) => { const s = [...document.querySelectorAll('#mean-maps label')]"
            ".find((one) => one.textContent.startsWith(label)).querySelector('select');"
            f"s.value = value; s.dispatchEvent(new Event('change')); }})({label!r}, {value!r})"
        )

    def drawn(page: Page) -> list[Any]:
        return list(page.evaluate(f"{TILES}.map((t) => t.innerText.replace(/\\s+/g, ' ').trim())"))

    with chromium(tmp_path / "profile") as page:
        page.resize(390)
        page.open(failed, ready=READY)
        labels = page.evaluate(
            "[...document.querySelectorAll('#mean-maps canvas')].map((c) => c.ariaLabel)"
        )
        assert len(labels) == 6
        assert labels[0].startswith("Mean attention, doctor, all: highest ")
        assert all(label.endswith("at the upper centre") for label in labels)  # where hair is
        assert all("dead" in text for text in drawn(page) if text.startswith("all"))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        choose("Subgroups by", "2")  # skin tone: too few of each
        texts = drawn(page)
        assert len(texts) == 12
        assert sum("too few: " in text and " of 30" in text for text in texts) == 10
        assert page.evaluate("document.querySelectorAll('#mean-maps canvas').length") == 2

        choose("Subgroups by", "1")
        choose("Frame", "1")
        assert page.evaluate("document.querySelectorAll('#mean-maps .box').length") == 6
        assert "dashed: the box of face" in page.evaluate(
            "document.querySelector('.map-legend').textContent"
        )
        choose("Show", "0")
        assert [text.split()[0] for text in drawn(page)] == ["woman", "woman"]
        assert "less than man" in page.evaluate("document.querySelector('.map-legend').textContent")
        choose("Show", "")

        narrow(page, "class", "nurse")
        assert [text.split()[0] for text in drawn(page)] == ["all", "man", "woman"]
        narrow(page, "subgroup", "woman")
        assert [text.split()[0] for text in drawn(page)] == ["all", "woman"]
        assert "nurse" in page.evaluate("document.querySelector('.mean-row h3').textContent")
        page.evaluate("document.querySelector('#filter button').click()")
        assert len(drawn(page)) == 6
        page.open(hostile, ready=READY)
        assert "</script><img src=x" in page.evaluate(
            "document.getElementById('mean-maps').textContent"
        )
        assert page.problems == []
