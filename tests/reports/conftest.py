from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.build import build_report
from tests.reports.browser import Page, chromium
from tests.reports.factory import HOSTILE, make_run
from tests.reports.runs import sealed_run


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run that fails."""
    return build_report(make_run(tmp_path_factory.mktemp("fail") / "run", "FAIL"))


@pytest.fixture(scope="session")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run that passes."""
    return build_report(make_run(tmp_path_factory.mktemp("pass") / "run", "PASS"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run whose classes and attribute have hostile names."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    return build_report(make_run(folder, "FAIL", labels=tuple(HOSTILE), attribute=HOSTILE[0]))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed runs of one audit: ``biased``, ``cured``; and of hostile names ``odd``, ``even``."""
    folder = tmp_path_factory.mktemp("sealed") / "runs"
    sealed_run(folder / "biased", hair=0.4, wrong=40)
    cured = ("s00052", "s00053", "s00054", "s00051")
    sealed_run(folder / "cured", peak=(3, 3), day=2, pictures=cured, weights="bb" * 32)
    sealed_run(folder / "odd", hair=0.4, hostile=True, day=3, n=120, name="hostile")
    sealed_run(folder / "even", hair=0.4, hostile=True, day=4, n=120, name="hostile")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The tab; a test fails on any console message or request it has caused."""
    browser.problems.clear()
    browser.requests.clear()
    browser.resize(1440)
    yield browser
    assert browser.problems == []
    assert not [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))]
