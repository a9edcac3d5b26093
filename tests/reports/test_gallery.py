"""The gallery in the browser: sort, opacity, counterfactuals, failures side by side, older runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.build import build_report
from tests.reports.browser import EXECUTABLE, Page, chromium
from tests.reports.factory import make_run

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

READY = "document.documentElement?.dataset.charts === 'ready'"
SHOWN = """[...document.querySelectorAll('#gallery .shot img:first-child')].map((image) =>
  data.gallery.pictures.findIndex((one) => data.gallery.files[one.original] === image.src))"""
DETAIL = "document.getElementById('detail')"
OLD_KEYS = ("true_score", "true_shares", "chosen_region")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        page.resize(1440)
        yield page


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose pictures differ in effect, attention and confidence, each in its own order."""
    folder = make_run(tmp_path_factory.mktemp("graded") / "run", pictures=8)
    path = folder / "pictures" / "pictures.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    for i, one in enumerate(told["pictures"]):
        one["shares"] = {"hair": 0.1 * (i * 3 % 8), "tools": 0.2}
        one["true_shares"] = {"hair": 0.01, "tools": 0.9}
        one["score"], one["true_score"] = 0.6 + 0.04 * (i * 5 % 8), 0.2
        one["prediction"] = one["label"] if i % 2 else "other"
        for variant in one["variants"]:
            if (variant["region"], variant["arm"]) == ("hair", "placebo"):
                variant["margin_after"] = variant["margin_before"] - i  # of no effect of its own
            if (variant["region"], variant["arm"]) == ("hair", "act"):
                variant["margin_after"] = variant["margin_before"] - i - (i * 7 % 8)
    told["pictures"][2] |= {"chosen_for": "extreme", "chosen_region": "hair"}
    path.write_text(json.dumps(told), encoding="utf-8")
    return build_report(folder)


def choose(page: Page, label: str, value: str) -> None:
    page.evaluate(
        "((label, value) => { const s = [...document.querySelectorAll('#gallery label')]"
        ".find((one) => one.textContent.startsWith(label)).querySelector('select');"
        f"s.value = value; s.dispatchEvent(new Event('change')); }})({label!r}, {value!r})"
    )


def told_of(report: Path) -> list[dict[str, Any]]:
    content = (report.parent / "pictures" / "pictures.json").read_text(encoding="utf-8")
    return list(json.loads(content)["pictures"])


def test_sorts_by_effect_beyond_the_placebo_by_confident_errors_and_by_attention(
    browser: Page, graded: Path
) -> None:
    browser.open(graded, ready=READY)
    told = told_of(graded)
    numbers = range(8)
    assert browser.evaluate(SHOWN) == list(numbers)
    choose(browser, "Sort by", "effect")
    assert browser.evaluate(SHOWN) == sorted(numbers, key=lambda i: -(i * 7 % 8))
    choose(browser, "Sort by", "share:hair")
    assert browser.evaluate(SHOWN) == sorted(numbers, key=lambda i: -(i * 3 % 8))
    choose(browser, "Sort by", "wrong")
    wrong = [i for i in browser.evaluate(SHOWN) if told[i]["prediction"] == "other"]
    assert wrong == browser.evaluate(SHOWN)[:4]
    assert wrong == sorted(wrong, key=lambda i: -told[i]["score"])
    choose(browser, "Sort by", "")
    choose(browser, "Chosen as", "extreme")
    assert browser.evaluate(SHOWN) == [2]
    assert browser.problems == []


def test_failures_show_both_maps_scores_and_shares(browser: Page, graded: Path) -> None:
    browser.open(graded, ready=READY)
    browser.evaluate("document.querySelectorAll('.switch button')[1].click()")
    errors = [one for one in told_of(graded) if one["prediction"] != one["label"]]
    surest = max(errors, key=lambda one: one["score"])
    assert browser.evaluate("document.querySelectorAll('.failure').length") == len(errors) == 4
    first = "document.querySelector('.failure')"
    text = browser.evaluate(f"{first}.textContent").replace("\u202f", " ")
    assert f"for the true class {surest['label']}, score 20 %" in text
    assert f"for the answer other, score {round(100 * surest['score'])} %" in text
    heats = browser.evaluate(f"[...{first}.querySelectorAll('.heat')].map((one) => one.src)")
    maps = [surest["maps"][which] for which in ("true", "predicted")]
    assert heats == browser.evaluate(f"{maps!r}.map((name) => data.gallery.files[name])")
    shares = browser.evaluate(
        f"[...{first}.querySelectorAll('.shares')].map((one) => one.textContent)"
    )
    assert ["90" in share for share in shares] == [True, False]  # tools: of the true class's map
    assert browser.evaluate(f"{first}.querySelector('.most').textContent") == "tools"
    browser.evaluate(f"{first}.querySelector('.shot').click()")
    assert browser.evaluate(f"{DETAIL}.open")
    detail = browser.evaluate(f"{DETAIL}.textContent")
    for words in ("speaks for other", f"speaks for {surest['label']}", "speaks against other"):
        assert words in detail
    browser.evaluate(f"{DETAIL}.close()")
    browser.evaluate("document.querySelectorAll('.switch button')[0].click()")
    assert len(browser.evaluate(SHOWN)) == 8
    assert browser.problems == []


def test_one_strength_for_gallery_and_dialog_and_a_view_of_what_speaks_against(
    browser: Page, graded: Path
) -> None:
    browser.open(graded, ready=READY)
    choose(browser, "View", "against-predicted")
    shown = browser.evaluate(
        "Object.keys(data.gallery.files).find((name) => data.gallery.files[name] === "
        "document.querySelector('.grid .heat').src)"
    )
    assert shown == told_of(graded)[0]["maps"]["against-predicted"]
    browser.evaluate("document.querySelector('.grid .shot').click()")
    browser.evaluate(
        f"(() => {{ const slider = {DETAIL}.querySelector('input[type=range]');"
        "slider.value = 0.3; slider.dispatchEvent(new Event('input')); })()"
    )
    for heat in (f"{DETAIL}.querySelector('.heat')", "document.querySelector('.grid .heat')"):
        assert browser.evaluate(f"getComputedStyle({heat}).opacity") == "0.3"
    assert browser.evaluate("document.querySelector('#gallery .strength').value") == "0.3"

    focused = "(document.activeElement.matches('nav button') && document.activeElement.textContent)"
    for pressed, at in (("Next", 1), ("Next", 2), ("Previous", 1)):  # the buttons are made anew
        browser.evaluate(
            f"[...{DETAIL}.querySelectorAll('nav button')]"
            f".find((one) => one.textContent.includes('{pressed}')).click()"
        )
        assert pressed in str(browser.evaluate(focused))
        assert told_of(graded)[at]["sample_id"] in browser.evaluate(f"{DETAIL}.textContent")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
    assert told_of(graded)[0]["sample_id"] in browser.evaluate(f"{DETAIL}.textContent")
    assert "Next" in str(browser.evaluate(focused))  # there is no picture before the first
    assert browser.problems == []


def test_pictures_of_an_older_run_are_shown_without_what_it_did_not_keep(
    browser: Page, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run", samples=40, pictures=6)
    (folder / "maps.parquet").unlink()
    path = folder / "pictures" / "pictures.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    for one in told["pictures"]:
        one["attributes"] = {"gender": "man"}
        for key in OLD_KEYS:
            del one[key]
        one["maps"] = {name: one["maps"][name] for name in ("true", "predicted")}
        one["prediction"] = "other"
    path.write_text(json.dumps(told), encoding="utf-8")
    browser.open(build_report(folder), ready=READY)
    assert len(browser.evaluate(SHOWN)) == 6
    views = browser.evaluate(
        "[...document.querySelectorAll('#gallery option')].map((option) => option.value)"
    )
    assert "against-predicted" not in views
    browser.evaluate("document.querySelectorAll('.switch button')[1].click()")
    assert browser.evaluate("document.querySelectorAll('.failure .heat').length") == 12
    browser.evaluate("document.querySelector('.failure .shot').click()")
    assert "counterfactual" not in browser.evaluate(f"{DETAIL}.textContent")
    browser.evaluate(f"{DETAIL}.close()")
    browser.evaluate(  # a subgroup of none of the pictures
        "document.dispatchEvent(new CustomEvent('report:filter', { detail:"
        " { class: '', attribute: 'gender', subgroup: 'woman', region: '' } }))"
    )
    assert browser.evaluate(SHOWN) == []
    assert browser.problems == []
