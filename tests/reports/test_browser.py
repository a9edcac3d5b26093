"""The report in a real browser: it runs, stays offline, fits, and its controls work."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.reports.browser import EXECUTABLE, Page
from tests.reports.factory import HOSTILE

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

READY = "document.documentElement?.dataset.charts === 'ready'"
PLOTS = "[...document.querySelectorAll('[data-plot]')].map((plot) => plot.dataset.plot)"
DRAWN = "[...document.querySelectorAll('[data-plot].js-plotly-plot')].map((p) => p.dataset.plot)"
LAYOUTS = "[...document.querySelectorAll('[data-plot]')].map((plot) => plot._fullLayout)"
WIDTHS = f"{LAYOUTS}.map((layout) => layout.width)"
HEIGHTS = f"{LAYOUTS}.map((layout) => layout.height)"
TILES = "document.querySelectorAll('.grid .shot').length"


@pytest.mark.parametrize("name", ["failed", "passed", "hostile"])
def test_all_charts_are_drawn_and_nothing_overflows(
    page: Page, name: str, request: pytest.FixtureRequest
) -> None:
    page.resize(390)
    page.open(request.getfixturevalue(name), ready=READY)
    wanted = ["effects", "effects-by-subgroup", "attention", "share-spread", "accuracy"]
    wanted += ["composition", "training"]
    assert page.evaluate(PLOTS) == page.evaluate(DRAWN) == wanted
    heights = page.evaluate(HEIGHTS)
    for width in (390, 768, 1440):
        page.resize(width)
        page.wait(f"{WIDTHS}.every((w) => {width} / 2 < w && w < {width})")
        assert page.evaluate(HEIGHTS) == heights
        for element in ("document.documentElement", "document.body"):  # a phone's window grows
            assert page.evaluate(f"{element}.scrollWidth <= {element}.clientWidth")


def test_hostile_names_are_shown_and_do_nothing(page: Page, hostile: Path) -> None:
    page.open(hostile, ready=READY)
    assert page.evaluate("document.querySelectorAll('img[src=\"x\"]').length") == 0
    options = page.evaluate("[...document.querySelector('.gallery select').options].length")
    assert options == 1 + len(HOSTILE)
    ticks = page.evaluate("document.querySelector('#chart-accuracy .plot').textContent")
    assert "</script><img" in ticks
    assert "<b>" in ticks


def test_choice_redraws_a_chart(page: Page, failed: Path) -> None:
    page.open(failed, ready=READY)
    legend = "[...document.querySelectorAll('#chart-accuracy .legendtext')].map(t => t.textContent)"
    assert page.evaluate(legend) == ["man", "woman"]
    page.evaluate(
        "(() => { const s = document.querySelector('#chart-accuracy select'); s.value = '1';"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    page.wait(f"{legend}.length === 5")
    assert page.evaluate(legend) == ["1", "2", "3", "4", "5"]


def test_gallery_filters_sorts_and_opens(page: Page, failed: Path) -> None:
    page.open(failed, ready=READY)
    assert page.evaluate(TILES) == 10
    page.evaluate(
        "(() => { const s = [...document.querySelectorAll('.gallery label')]"
        ".find((l) => l.textContent.startsWith('Answer')).querySelector('select');"
        "s.value = 'wrong'; s.dispatchEvent(new Event('change')); })()"
    )
    wrong = page.evaluate("data.gallery.pictures.filter((p) => p.label !== p.prediction).length")
    assert 0 < wrong < 10
    assert page.evaluate(TILES) == wrong
    page.evaluate("document.querySelector('.grid .shot').click()")
    assert page.evaluate("document.getElementById('detail').open")
    text = page.evaluate("document.getElementById('detail').textContent")
    assert "margin 2.5 → 2.2" in text
    assert "margin 2.5 → \u22120.8" in text
    page.evaluate("document.getElementById('detail').close()")


def test_slider_fades_the_heat_maps(page: Page, failed: Path) -> None:
    page.open(failed, ready=READY)
    page.evaluate(
        "(() => { const s = document.querySelector('.gallery input[type=range]'); s.value = 0.2;"
        "s.dispatchEvent(new Event('input')); })()"
    )
    assert page.evaluate("getComputedStyle(document.querySelector('.grid .heat')).opacity") == "0.2"


def test_pictures_are_decoded(page: Page, failed: Path) -> None:
    page.open(failed, ready=READY)
    page.evaluate("document.querySelectorAll('img').forEach((i) => { i.loading = 'eager'; })")
    page.wait("[...document.images].every((image) => image.complete)")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_dark_scheme_recolours_the_charts(page: Page, failed: Path) -> None:
    ink = "getComputedStyle(document.querySelector('#chart-accuracy .xtick text')).fill"
    page.open(failed, ready=READY)
    light = page.evaluate(ink)
    page.resize(1440, dark=True)
    page.wait(f"{ink} !== {light!r}")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 24)"


def test_terms_are_explained_on_focus(page: Page, failed: Path) -> None:
    page.open(failed, ready=READY)
    page.evaluate("document.querySelector('.term').focus()")
    page.wait("!document.getElementById('tip').hidden")
    shown = page.evaluate("document.getElementById('tip').textContent")
    assert shown == page.evaluate("document.querySelector('.term').dataset.tip")


def test_every_control_and_picture_has_a_name(page: Page, failed: Path) -> None:
    page.open(failed, ready=READY)
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "combobox", "slider", "checkbox", "heading"}
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node.get("ignored")
        and node["role"]["value"] in roles
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert page.evaluate("[...document.images].every((image) => image.hasAttribute('alt'))")
    levels = page.evaluate(
        "[...document.querySelectorAll('main h1, main h2, main h3')].map((h) => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
