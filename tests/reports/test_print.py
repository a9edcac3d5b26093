"""Paper shows everything; nothing is cut, and sections are whole where they fit on a page."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.reports.browser import EXECUTABLE, Page, chromium

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

READY = "document.documentElement?.dataset.charts === 'ready'"
INCH = 96  # pixels
A4 = (8.27, 11.69)  # inches
MARGIN = 14 / 25.4  # inches
PAPER = round((A4[0] - 2 * MARGIN) * INCH)  # pixels across
CLOSED = "document.querySelectorAll('details:not([open], .chart-table)').length"
CHARTS = "[...document.querySelectorAll('[data-plot]')].map((p) => Math.round(p._fullLayout.width))"
TEXTS = """[...document.querySelectorAll('main > section')].map((section) => ({
  title: section.querySelector('h1, h2').innerText,
  last: [...section.querySelectorAll('p, dd, small, pre')].at(-1).innerText,
  height: section.getBoundingClientRect().height,
}))"""
CUT = """[...document.querySelectorAll('main *')].filter((one) => {
  const { right, width } = one.getBoundingClientRect();
  return width > 0 && right > document.documentElement.clientWidth + 1;
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def printed(page: Page) -> list[str]:
    """Text of each sheet of paper, without white space."""
    width, height = A4
    answer = page.call("Page.printToPDF", paperWidth=width, paperHeight=height)
    sheets = PdfReader(BytesIO(base64.b64decode(answer["data"]))).pages
    return [squeezed(sheet.extract_text()) for sheet in sheets]


def squeezed(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())  # ligatures as letters


def test_paper_shows_all(browser: Page, hostile: Path) -> None:
    browser.resize(1440, dark=True)
    browser.open(hostile, ready=READY)
    folded, charts = browser.evaluate(CLOSED), browser.evaluate(CHARTS)
    assert folded > 5
    sheets = printed(browser)
    assert 8 <= len(sheets) <= 30
    assert browser.evaluate(CLOSED) == folded
    assert browser.evaluate(CHARTS) == charts

    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=PAPER, height=1000, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    assert browser.evaluate(CLOSED) == 0
    assert browser.evaluate(CUT) == []

    sections = browser.evaluate(TEXTS)
    assert len(sections) > 10
    together = (A4[1] - 2 * MARGIN) * INCH * 0.95
    whole = 0
    for section in sections:
        title, last = squeezed(section["title"]), squeezed(section["last"])[-40:]
        assert any(title in sheet for sheet in sheets), title
        assert any(last in sheet for sheet in sheets), last
        if section["height"] < together:
            whole += 1
            assert any(title in sheet and last in sheet for sheet in sheets), title
    assert whole > 5
    text = "".join(sheets)
    for drawn in ("changedanswers,excess", "correctanswers", "partoftheclass", "epoch"):
        assert drawn in text  # titles of axes
    dark = browser.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')")
    assert dark.strip() == "#1b1f24"  # ink on paper, whatever the screen's colours
