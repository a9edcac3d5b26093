"""The blind review: hides the class until it is guessed, draws by seed, and scores rightly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit import tables
from audit.evidence.intervals import wilson
from reports.blind import CANDIDATES, guessable
from reports.build import build_report
from reports.run import read_run
from tests.reports.browser import EXECUTABLE, Page, chromium
from tests.reports.factory import HOSTILE, make_run, write_json
from tests.reports.test_build import Page as Html
from tests.reports.test_review import arrived

in_browser = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

PLACE = "document.getElementById('blind-review')"
GUESSES = f"[...{PLACE}.querySelectorAll('.guesses button')]"
# The number of the picture that is shown, which its class cannot be read from.
SHOWN = (
    "data.gallery.pictures.findIndex(({original, guided}) => [original, guided]"
    f".some((name) => data.gallery.files[name] === {PLACE}.querySelector('img').src))"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page
        assert page.problems == []
        assert not [u for u in page.requests if not u.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report with more classes than are offered."""
    labels = (*(f"species {letter}" for letter in "abcdefghijklm"), HOSTILE[0])
    return build_report(make_run(tmp_path_factory.mktemp("many") / "run", labels=labels))


def start(page: Page, **settings: Any) -> None:
    """Choose number, kind and seed where they are given, and start."""
    for control, value in settings.items():
        number = {"pictures": 0, "shown": 1, "seed": 2}[control]
        page.evaluate(
            f"(() => {{ {PLACE}.querySelectorAll('input, select')[{number}].value = "
            f"{json.dumps(value)}; }})()"
        )
    press(page, "Start")


def press(page: Page, text: str) -> None:
    page.evaluate(
        f"[...{PLACE}.querySelectorAll('button')].find((b) => b.textContent === {text!r}).click()"
    )


def play(page: Page, pictures: list[dict[str, Any]], mistakes: int = 0) -> list[int]:
    """Guess each picture rightly, after so many mistakes; the pictures in their order."""
    order: list[int] = []
    while page.evaluate(f"{GUESSES}.length"):
        order.append(page.evaluate(SHOWN))
        explained = pictures[order[-1]]["prediction"]
        wrong = "!" if len(order) <= mistakes else ""
        page.evaluate(
            f"{GUESSES}.find((b) => {wrong}(b.textContent === {json.dumps(explained)})).click()"
        )
    return order


@in_browser
def test_nothing_gives_the_class_away_before_the_guess(page: Page, many: Path) -> None:
    page.open(many, ready=f"{PLACE} && document.readyState === 'complete'")
    beside = (
        f"(() => {{ const copy = {PLACE}.closest('section').cloneNode(true);"
        "copy.querySelector('.guesses').remove(); return copy.outerHTML; })()"
    )
    pictures = page.evaluate("data.gallery.pictures")
    for shown in ("guided", "masked"):
        start(page, shown=shown, pictures=6)
        for number in range(1, 7):
            html = page.evaluate(beside)
            for uri in page.evaluate("Object.values(data.gallery.files)"):
                html = html.replace(uri, "")
            for picture in pictures:
                for secret in (*picture["attributes"].values(), picture["original"]):
                    assert f">{secret}<" not in html
                    assert f'"{secret}"' not in html
                for secret in (picture["label"], picture["sample_id"], picture["maps"]["true"]):
                    assert secret not in html
            image = f"{PLACE}.querySelector('img')"
            assert page.evaluate(f"{image}.alt") == f"Explanation {number} of 6"
            names = page.evaluate(f"{image}.getAttributeNames()")
            assert set(names) <= {"src", "alt", "style"}
            mask = page.evaluate(f"getComputedStyle({image}).maskImage")
            this = page.evaluate(SHOWN)
            if shown == "masked":
                own = page.evaluate(
                    f"data.gallery.files[data.gallery.pictures[{this}].maps.predicted]"
                )
                assert own in mask
            else:
                assert mask == "none"
            page.evaluate(f"{GUESSES}[0].click()")
        press(page, "Again, in another order")
    assert page.evaluate("document.querySelectorAll('img[src=\"x\"]').length") == 0


@in_browser
def test_score_mistakes_and_file_are_right(page: Page, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures=9)
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.open(build_report(run), ready=f"{PLACE} && document.readyState === 'complete'")
    pictures = page.evaluate("data.gallery.pictures")
    start(page, seed=5)
    order = play(page, pictures, mistakes=2)
    assert sorted(order) == list(range(9))
    low, high = wilson(7 / 9, 9, 0.05)
    text = page.evaluate(f"{PLACE}.textContent").replace("\u202f", " ")
    assert "7 of 9 right: 78 %" in text
    assert f"95 % interval {100 * low:.0f} to {100 * high:.0f} %; guessing gives 50 %." in text
    assert "Not shown to be better than guessing." in text

    links = f"[...{PLACE}.querySelectorAll('.mistakes button')]"
    assert page.evaluate(f"{links}.length") == 2
    page.evaluate(f"{links}[1].click()")
    detail = page.evaluate("document.getElementById('detail').textContent")
    assert pictures[order[1]]["sample_id"] in detail
    page.evaluate("document.getElementById('detail').close()")

    press(page, "Export score")
    score = json.loads(arrived(page, tmp_path / "blind-review-run.json").read_text("utf-8"))
    whole = score["score"]
    assert (whole["right"], whole["total"], whole["chance"]) == (7, 9, 0.5)
    assert (whole["low"], whole["high"]) == pytest.approx((low, high), abs=1e-12)
    totals = Counter(pictures[number]["prediction"] for number in order)
    rights = Counter(pictures[number]["prediction"] for number in order[2:])
    assert {one["class"]: one["total"] for one in score["by_class"]} == totals
    for one in score["by_class"]:
        assert one["right"] == rights[one["class"]]
        expected = wilson(one["right"] / one["total"], one["total"], 0.05)
        assert (one["low"], one["high"]) == pytest.approx(expected, abs=1e-12)
    assert [one["sample_id"] for one in score["guesses"]] == [
        pictures[number]["sample_id"] for number in order
    ]
    assert score["seed"] == 5
    assert score["run"]["id"] == "run"

    press(page, "Again, in another order")
    start(page, seed=5)
    assert play(page, pictures) == order
    assert "Better than guessing" in page.evaluate(f"{PLACE}.textContent")
    press(page, "Again, in another order")  # with seed 6
    start(page)
    assert play(page, pictures) != order


@in_browser
def test_of_many_classes_ten_are_drawn_with_the_right_one(page: Page, many: Path) -> None:
    page.open(many, ready=f"{PLACE} && document.readyState === 'complete'")
    pictures = page.evaluate("data.gallery.pictures")
    start(page)
    offered: Counter[str] = Counter()
    classes = page.evaluate("data.blind.classes")
    for _ in pictures:
        names = page.evaluate(f"{GUESSES}.map((b) => b.textContent)")
        assert len(names) == CANDIDATES
        assert names == sorted(names, key=classes.index)
        assert pictures[page.evaluate(SHOWN)]["prediction"] in names
        offered.update(names)
        page.evaluate(f"{GUESSES}[0].click()")
    assert set(offered) == set(classes)
    assert "guessing gives 10" in page.evaluate(f"{PLACE}.textContent")


def test_dead_maps_and_second_pictures_of_a_cluster_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures=5)
    path = run / "pictures" / "pictures.json"
    records = json.loads(path.read_text(encoding="utf-8"))["pictures"]
    records[0]["shares"] = {}
    del records[1]["maps"]["predicted"]
    write_json(path, {"pictures": records})
    samples = tables.read_table(run / "samples.parquet", tables.SAMPLES)
    together = samples["sample_id"].isin([records[2]["sample_id"], records[3]["sample_id"]])
    samples.loc[together, "cluster_id"] = samples.loc[together, "cluster_id"].iloc[0]
    tables.write_table(samples, tables.SAMPLES, run / "samples.parquet")
    kept = guessable(read_run(run))
    assert len(kept) == 2
    assert 4 in kept
    assert not {0, 1} & set(kept)


def test_there_is_no_such_section_where_nothing_can_be_guessed(
    failed: Path, tmp_path: Path
) -> None:
    assert "blind-review" in Html(failed).ids()
    run = make_run(tmp_path / "run", pictures=1)
    write_json(run / "pictures" / "pictures.json", {"pictures": []})
    assert "blind-review" not in Html(build_report(run)).ids()
