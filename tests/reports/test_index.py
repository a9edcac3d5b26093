"""The index of runs: what it lists, in which order, and what it does with broken folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from audit.errors import RunError
from audit.listing import Listed, find_runs, read_listed
from audit.runs.files import read_json, write_json
from audit.runs.folder import Run
from audit.runs.record import seal
from reports.figures import trend
from reports.index import build_index
from reports.run import read_run
from tests.reports.factory import HOSTILE
from tests.reports.test_build import Page


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """Two runs of one audit at different depths, with hostile folder names."""
    place = tmp_path / "all"
    shutil.copytree(runs / "biased", place / "deep" / 'er "x"' / "first")
    shutil.copytree(runs / "cured", place / "second#1")
    (place / "second#1" / "report.html").write_text("")
    seal(Run(place / "second#1"))
    return place


def text_of(path: Path) -> str:
    return " ".join(Page(path).text.split())


def test_runs_are_found_at_any_depth_and_not_inside_of_runs(folder: Path) -> None:
    inner = folder / "second#1" / "pictures" / "inner"
    inner.mkdir()
    (inner / "record.json").write_text("{}")
    (folder / ".draft.tmp").mkdir()
    (folder / ".draft.tmp" / "run.json").write_text("{}")
    (folder / "loop").symlink_to(folder)
    assert {run.folder.name for run in find_runs(folder)} == {"first", "second#1"}


def test_a_run_in_short_is_that_of_its_tables(folder: Path) -> None:
    listed = read_listed(Run(folder / "second#1"))
    run = read_run(folder / "second#1")
    right = (run.audited["prediction"] == run.audited["label"]).mean()
    assert listed.accuracy["effect"] == pytest.approx(right)
    assert listed.accuracy["n"] == len(run.audited)
    assert listed.quarantined == len(run.quarantined)
    assert listed.verdict.verdict == run.verdict["verdict"] == "PASS"
    assert [one["effect"] for one in listed.findings] == [one["effect"] for one in run.findings]


def test_the_newest_run_is_on_top_with_what_changed(folder: Path) -> None:
    page = build_index(folder, folder / "index.html")
    text = text_of(page)
    assert "Newest run of 1 audit: 1 PASS." in text
    assert text.index("2026-01-02 03:00") < text.index("2026-01-01 03:00")
    rows = text[text.index("changed since the run before") :]
    assert "none 0 0 model second#1" in rows
    assert "hair for doctor, hair for nurse 0 0 first run first no report" in rows


def test_links_lead_to_reports_that_are_there(folder: Path, tmp_path: Path) -> None:
    for output in (folder / "index.html", tmp_path / "page.html"):
        page = Page(build_index(folder, output))
        links = [
            attributes["href"] or ""
            for tag, attributes in page.elements
            if tag == "a" and not (attributes["href"] or "").startswith("#")
        ]
        assert [(output.parent / unquote(one)).resolve() for one in links] == [
            (folder / "second#1" / "report.html").resolve()
        ]


def test_what_cannot_be_listed_is_told_with_why_and_stops_nothing(folder: Path) -> None:
    broken = {
        "verdict.json": ("altered", lambda run: run.verdict.write_text("{}")),
        "no evidence": ("evidence.parquet: missing", lambda run: run.table("evidence").unlink()),
        "no record": ("still running, or interrupted", lambda run: run.record.unlink()),
        "stale": ("left behind", _make_stale),
        "not json": ("not readable as JSON", lambda run: run.record.write_text("{")),
        "no list": ("cannot be read", _seal_findings),
        "no time": ("cannot be read", _seal_time),
    }
    for name, (_, spoil) in broken.items():
        shutil.copytree(folder / "second#1", folder / name)
        spoil(Run(folder / name))
    text = text_of(build_index(folder, folder / "index.html"))
    assert f"{len(broken)} folders could not be listed" in text
    assert "2 runs" in text
    told = text[text.index("Folders that could not be listed") :]
    for name, (why, _) in broken.items():
        assert why in told[told.index(f" {name} ") :].split(" all/")[0]


def _make_stale(run: Run) -> None:
    run.record.unlink()
    run.stale.parent.mkdir(exist_ok=True)
    run.stale.write_text("")


def _seal_findings(run: Run) -> None:
    write_json(run.findings, {"findings": [7]})
    seal(run)


def _seal_time(run: Run) -> None:
    write_json(run.identity, read_json(run.identity) | {"started": "soon"})
    seal(run)


def test_a_folder_without_runs_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run in it"):
        build_index(tmp_path, tmp_path / "index.html")
    with pytest.raises(RunError, match="no such folder"):
        build_index(tmp_path / "none", tmp_path / "index.html")
    with pytest.raises(RunError, match="which stays as it is"):
        build_index(runs / "cured", runs / "cured" / "index.html")


def test_only_unfinished_runs_make_a_page_too(folder: Path) -> None:
    for run in list(find_runs(folder)):
        run.record.unlink()
    assert "No finished run yet." in text_of(build_index(folder, folder / "index.html"))


def test_the_trend_follows_the_clock(folder: Path) -> None:
    listed = [read_listed(run) for run in find_runs(folder)]
    chart = trend.of_runs(0, listed[::-1])
    assert chart is not None
    accuracy, *effects = chart.figures[""].data
    ordered = sorted(listed, key=lambda one: one.started)
    assert list(accuracy.x) == ["2026-01-01 03:00:00", "2026-01-02 03:00:00"]
    assert list(accuracy.y) == [one.accuracy["effect"] for one in ordered]
    assert {trace.name.split(" ·")[0] for trace in effects[:2]} == {"hair"}  # confirmed once
    assert len(effects) == 4
    assert trend.of_runs(0, listed[:1]) is None


def test_of_many_findings_the_largest_are_drawn(folder: Path) -> None:
    first, second = (read_listed(run) for run in find_runs(folder))
    claims = [
        {**first.findings[0], "target_class": f"c{i}", "status": "CLEARED", "effect": i / 100}
        for i in range(20)
    ]
    runs = [Listed(**{**vars(one), "findings": claims}) for one in (first, second)]
    chart = trend.of_runs(0, runs)
    assert chart is not None
    names = [trace.name.split(" · ")[1] for trace in chart.figures[""].data[1:]]
    assert names == [f"c{i}" for i in range(19, 12, -1)]
    assert "13 more findings" in chart.caption


def test_hostile_names_stay_text(runs: Path, tmp_path: Path) -> None:
    page = Page(build_index(runs, tmp_path / "index.html"))
    assert HOSTILE[0][:12] in page.text
    assert not [tag for tag, attributes in page.elements if attributes.get("src") == "x"]
