"""Comparison and index in a real browser: they run, fit, stay offline; the trust study works."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from scipy.stats import binomtest

from reports.compare import build_comparison
from reports.index import build_index
from tests.reports.browser import EXECUTABLE, Page
from tests.reports.factory import HOSTILE
from tests.reports.test_accessibility import BARE, CONTRAST, OPEN_ALL, axe_core, violations
from tests.reports.test_browser import DRAWN, PLOTS, READY, WIDTHS
from tests.reports.test_print import CUT, PAPER

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

TRUST = "document.getElementById('trust-test')"


def assert_prints_whole(page: Page) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.call("Emulation.setEmulatedMedia", media="print")
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=PAPER, height=1000, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    assert page.evaluate(CUT) == []
    cut_below = (
        "[...document.querySelectorAll('.table-scroll')]"
        ".filter((one) => one.scrollHeight > one.clientHeight).map((one) => one.ariaLabel)"
    )
    assert page.evaluate(cut_below) == []
    page.call("Emulation.setEmulatedMedia", media="")
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_pages_draw_their_charts_and_fit(page: Page, runs: Path, tmp_path: Path) -> None:
    pages = {
        build_comparison(runs / "odd", runs / "even", tmp_path / "compare.html"): [
            "changes", "accuracy-changes"
        ],
        build_index(runs, tmp_path / "index.html"): ["trend-0", "trend-1"],
    }  # fmt: skip
    for path, charts in pages.items():
        page.open(path, ready=READY)
        assert page.evaluate(PLOTS) == page.evaluate(DRAWN) == charts
        for width in (390, 768, 1440):
            page.resize(width)
            page.wait(f"{WIDTHS}.every((w) => {width} / 2 < w && w < {width})")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate("document.body.scrollWidth <= innerWidth")
        assert page.evaluate("document.querySelectorAll('img[src=\"x\"]').length") == 0
        shown = page.evaluate("document.body.textContent + document.body.innerHTML")
        assert HOSTILE[0][:14] in shown
        assert_prints_whole(page)
        page.evaluate(f"{OPEN_ALL}; {BARE}")
        page.evaluate(f"{axe_core()}; 0")
        page.resize(1440, dark=True)
        assert violations(page, CONTRAST) == [], path.name
        page.resize(1440)
        assert violations(page) == [], path.name


def test_maps_are_decoded_and_described_for_each_run(page: Page, runs: Path) -> None:
    page.open(
        build_comparison(runs / "biased", runs / "cured", runs.parent / "b.html"), ready=READY
    )
    page.evaluate("document.querySelector('.pairs').open = true")
    images = "[...document.querySelectorAll('#pairs img')]"
    page.wait(f"{images}.length === 24 && {images}.every((image) => image.complete)")
    assert page.evaluate(f"{images}.every((image) => image.naturalWidth === 32)")
    first = page.evaluate(f"{images}.slice(0, 4).map((image) => image.alt)")
    assert first[0].startswith("before: heat map for ")
    assert first[2].startswith("after: heat map for ")


def downloaded(page: Page, path: Path) -> str:
    """Text of a JSON object that the page saves, once it is whole."""
    deadline = time.monotonic() + 30
    while not (path.is_file() and path.read_text().endswith("}")):
        assert time.monotonic() < deadline, f"{path} was not saved"
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 20))")
    return path.read_text()


def test_trust_study_shows_each_map_on_its_side_and_exports_the_score(
    page: Page, runs: Path, tmp_path: Path
) -> None:
    path = build_comparison(runs / "biased", runs / "cured", tmp_path / "page.html")
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.open(path, ready=READY)
    study = page.evaluate("data.trust")
    assert len(study["trials"]) >= 2
    page.evaluate(f"{TRUST}.querySelector('button').click()")
    expected = []
    keys = ["ArrowLeft", "ArrowRight", "ArrowDown"]
    choices = ["left", "right", "none"]
    for number, trial in enumerate(study["trials"]):
        left, right = trial["left"], "after" if trial["left"] == "before" else "before"
        for place, side in enumerate((left, right)):
            assert page.evaluate(
                f"{TRUST}.querySelectorAll('.heat')[{place}].src"
                f" === data.pairs[{trial['pair']}].{side}.map"
            )
        blind = page.evaluate(f"{TRUST}.innerText").lower()
        assert "before" not in blind
        assert "after" not in blind
        pick = number % 3
        expected.append({"left": left, "right": right, "none": None}[choices[pick]])
        page.call("Input.dispatchKeyEvent", type="keyDown", key=keys[pick])
    counts = {side: expected.count(side) for side in ("before", "after")}
    decided = sum(counts.values())
    p = binomtest(counts["before"], decided).pvalue
    told = page.evaluate(f"{TRUST}.textContent")
    assert f"after in {counts['after']} of {len(expected)}" in told
    (chance,) = re.findall(r"come about in (\d+) of 100 such tests", told)
    assert int(chance) == pytest.approx(100 * p, abs=0.5)
    page.evaluate(f"{TRUST}.querySelector('.trust-done button').click()")
    found = json.loads(downloaded(page, tmp_path / "trust.json"))
    assert [one["trusted"] for one in found["answers"]] == expected
    assert found["score"] == {
        **counts, "n": len(expected), "no_difference": len(expected) - decided,
        "p": pytest.approx(p),
    }  # fmt: skip
    assert found["runs"] == {"before": "planted / biased", "after": "planted / cured"}
    assert found["seed"] == study["seed"]
    page.evaluate(f"{TRUST}.querySelector('.trust-done button:last-child').click()")
    assert "Picture 1 of" in page.evaluate(f"{TRUST}.textContent")
