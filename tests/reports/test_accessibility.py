"""The report can be read by everyone: axe-core, contrast, keyboard, widths, words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reports import words
from reports.build import TEMPLATES, build_report
from reports.figures.style import PALETTE
from tests.reports.browser import EXECUTABLE, Page, chromium
from tests.reports.factory import make_run

needs_browser = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

READY = "document.documentElement?.dataset.charts === 'ready'"
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
WIDTHS = (390, 768, 1440)
# For axe: no charts, which it cannot measure, and of rows of the same kind the first ones.
BARE = """
  document.querySelectorAll('.plot').forEach((plot) => Plotly.purge(plot));
  window.Plotly = null;
  document.querySelectorAll('tr:nth-child(n + 9), .grid .shot:nth-child(n + 9)')
    .forEach((one) => one.remove())"""
CONTRAST = ("color-contrast",)
SCROLLING = ("scrollable-region-focusable",)
REPORTS = ("failed", "passed", "hostile", "many")


def axe_core() -> str:
    """The script of axe-core, out of a package whose code is not run."""
    found = find_spec("axe_core_python")
    assert found is not None and found.origin is not None, "pip install axe-core-python"
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(
    page: Page, only: Sequence[str] = (), *, but: Sequence[str] = (), within: str = "body"
) -> list[str]:
    """What axe-core calls serious or critical, by the rules named or all but those named."""
    options: dict[str, Any] = {"rules": {rule: {"enabled": False} for rule in but}}
    options |= {"runOnly": list(only)} if only else {}
    run = f"axe.run({json.dumps(within)}, {json.dumps(options)})"
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in page.evaluate(f"{run}.then((results) => results.violations)")
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run of 40 classes and crossed attributes."""
    labels = tuple(f"class number {i} of forty" for i in range(40))
    folder = tmp_path_factory.mktemp("many") / "run"
    return build_report(make_run(folder, labels=labels, attribute="gender x age", pictures=40))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@needs_browser
@pytest.mark.parametrize("name", REPORTS)
def test_no_width_scrolls_sideways_and_axe_finds_nothing_serious(
    browser: Page, name: str, request: pytest.FixtureRequest
) -> None:
    browser.resize(390)
    many = name == "many"  # whose charts take long to draw, and cannot reach beyond their frames
    complete = "document.readyState === 'complete'"
    browser.open(request.getfixturevalue(name), ready=complete if many else READY)
    browser.evaluate(OPEN_ALL)
    for width in WIDTHS:
        browser.resize(width)
        # A phone's window grows with what overflows, so innerWidth would prove nothing.
        browser.wait(f"Math.abs(document.documentElement.clientWidth - {width}) < 20")
        assert browser.evaluate(
            "[document.documentElement, document.body].every((e) => e.scrollWidth <= e.clientWidth)"
        ), f"{name} at {width} px"
    if many:
        return  # rows of the same kind as in the others
    browser.evaluate(BARE)
    browser.evaluate(f"{axe_core()}; 0")
    assert violations(browser, SCROLLING) == [], f"{name} at 1440 px"
    for dark in (False, True) if name != "hostile" else ():  # names have no colours
        browser.resize(1440, dark=dark)
        assert violations(browser, CONTRAST) == [], f"{name}, {'dark' if dark else 'light'}"
    browser.resize(390)
    assert violations(browser, but=CONTRAST) == [], f"{name} at 390 px"
    browser.evaluate("document.querySelector('.grid .shot').click()")
    assert violations(browser, within="#detail") == [], f"{name}: a picture's details"


@needs_browser
def test_axe_would_find_what_is_wrong(browser: Page, passed: Path) -> None:
    browser.resize(1440)
    browser.open(passed, ready=READY)
    browser.evaluate(BARE)
    browser.evaluate(f"{axe_core()}; 0")
    browser.evaluate(
        "document.querySelector('main').append("
        "element('img', {src: 'data:,'}), element('button'),"
        "Object.assign(element('p', {textContent: 'pale'}), {style: 'color: #ccc'}))"
    )
    found = {one.split(":")[0] for one in violations(browser)}
    assert found == {"image-alt", "button-name", "color-contrast"}


@needs_browser
def test_the_keyboard_goes_down_the_page_from_the_skip_link(browser: Page, failed: Path) -> None:
    browser.resize(1440)
    browser.open(failed, ready=READY)
    tab = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    focused = []
    for _ in range(40):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, **tab)
        focused.append(
            browser.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
    assert browser.evaluate(
        f"document.querySelectorAll('*')[{focused[0]}].matches('a.skip[href=\"#main\"]')"
    )
    assert focused == sorted(set(focused))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_text_has_contrast_aa_on_every_ground() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    texts = ("ink", "muted", "accent", "fail", "pass", "inconclusive", "error", "waived")
    for text, ground, scheme in product(texts, ("paper", "surface"), (0, 1)):
        assert contrast(PALETTE[text][scheme], PALETTE[ground][scheme]) >= 4.5, (text, ground)


PLAIN = {
    "pictures", "pictures audited", "right answers", "fewest right answers", "class", "true class",
    "region", "the region is", "group", "attribute", "factor", "kind", "data", "sample", "part",
    "other", "reason", "result", "value", "measured", "fires on", "part of the score", "strongest "
    "for", "would decide", "attention", "independent samples", "to add", "relied on",
    "not relied on", "not decided", "what the region gives away", "the same as a picture",
}  # fmt: skip
HEAD = re.compile(r"<(?:th scope=\"col\"[^>]*|dt)>(.*?)</(?:th|dt)>", re.DOTALL)


def test_no_head_of_a_table_needs_a_dictionary() -> None:
    templates = [path.read_text() for path in (TEMPLATES / "sections").glob("*.html")]
    heads = [head for template in templates for head in HEAD.findall(template)]
    assert len(heads) > 70
    unexplained = {
        re.sub(r"<[^>]+>|{{.*?}}", "", head).strip() for head in heads if "ui.term(" not in head
    }
    assert unexplained - {""} <= PLAIN


def test_every_section_that_flags_says_how_it_can_be_wrong(failed: Path) -> None:
    page = failed.read_text(encoding="utf-8")
    sections = re.findall(r"<section id=\"(.*?)\".*?</section>", page, re.DOTALL)
    told = re.findall(r"<section id=\"([^\"]*)\"(?:(?!</section>).)*?an be wrong", page, re.DOTALL)
    assert len(sections) > 10
    assert set(sections) - set(told) == {"provenance"}  # which flags nothing


def test_no_status_is_told_by_colour_alone(failed: Path) -> None:
    assert set(words.SIGNS) == set(words.STATUSES)
    page = failed.read_text(encoding="utf-8")
    for key in ("CONFIRMED", "INCONCLUSIVE"):
        sign, title = words.SIGNS[key], words.STATUSES[key][0]
        assert f'<span class="status is-{key.lower()}" data-sign="{sign}">{title}</span>' in page
