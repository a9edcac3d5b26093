"""The scorecard on the page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audit import tables
from reports import words
from reports.build import build_report
from tests.reports.factory import HOSTILE, make_run
from tests.reports.test_build import Page

ROW = {
    "stage": "*", "region": "*", "n": 96, "clusters": 90, "effect": 0.123, "low": 0.086,
    "high": 0.16, "upper_limit": 0.151, "p": None, "threshold": 0.0, "gates": False,
    "passed": None, "meaning": "What it says.",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", samples=60, pictures=3)


def write_scorecard(run: Path, passed: bool | None, region: str = "hair") -> None:
    end = {"check": "randomisation", "statistic": "rank correlation", "stage": "all weights"}
    gate = {"gates": True, "passed": passed, "threshold": 0.3}
    nothing = dict.fromkeys(("effect", "low", "high", "upper_limit", "threshold"))
    rows = [
        ROW | end | gate,
        ROW | end | {"statistic": "alignment", "region": region, "gates": True, "passed": True},
        ROW | {"check": "curves", "statistic": "deletion"},
        ROW | nothing | {"check": "pointing", "statistic": "hit rate", "n": 0,
                         "meaning": f"Not measured: {region} is not there."},
    ]  # fmt: skip
    frame = pd.DataFrame(rows).astype({"passed": "boolean"})
    tables.write_table(frame, tables.SCORECARD, run / "scorecard.parquet")


def section_text(run: Path) -> str:
    return " ".join(Page(build_report(run)).text.split())


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (True, "The maps follow the model: passed. Attention in this report may flag."),
        (False, "The maps do not follow the model: not passed."),
        (None, "It was not shown that the maps follow the model: undecided."),
    ],
)
def test_says_whether_maps_can_be_trusted(run: Path, passed: bool | None, said: str) -> None:
    write_scorecard(run, passed)
    text = section_text(run)
    assert said in text
    assert "resembled the real ones by 0.12" in text
    assert "96 pictures" in text
    assert "0.086 to 0.16" in text
    assert "How it can be wrong:" in text


def test_what_could_not_be_measured_has_its_reason_and_no_number(run: Path) -> None:
    write_scorecard(run, True)
    text = section_text(run)
    assert "Not measured: hair is not there." in text
    assert "nan" not in text.split("Explainer scorecard")[1].split("Accuracy")[0].lower()


def test_names_are_text(run: Path) -> None:
    write_scorecard(run, True, region=HOSTILE[0])
    page = build_report(run).read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert HOSTILE[0] in Page(run / "report.html").text


@pytest.mark.parametrize(("passed", "warned"), [(True, 0), (False, 2), (None, 2)])
def test_cues_and_neurons_say_that_maps_are_not_to_be_trusted(
    run: Path, passed: bool | None, warned: int
) -> None:
    write_scorecard(run, passed)
    assert section_text(run).count(words.UNTRUSTED) == warned


def test_a_run_without_a_scorecard_has_no_such_section(run: Path) -> None:
    assert "explainer" not in Page(build_report(run)).ids()
    tables.write_table(tables.empty(tables.SCORECARD), tables.SCORECARD, run / "scorecard.parquet")
    assert "explainer" not in Page(build_report(run)).ids()
