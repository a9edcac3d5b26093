"""The report's benchmark measures a run of all its classes, attributes and regions."""

from __future__ import annotations

from pathlib import Path

from reports.run import read_run
from reports.sections import SECTIONS
from tests.benchmarks.rejudge import REGIONS
from tests.benchmarks.report import LEVELS, large_run


def test_its_run_has_all_charts_of_all_cells(tmp_path: Path) -> None:
    run = read_run(large_run(tmp_path / "run", 240, 2))
    sections = [section.context(run) or {} for section in SECTIONS]
    charts = {chart.id: chart for section in sections for chart in section.get("charts", [])}
    assert {"effects", "effects-by-subgroup", "margin-drop-spread", "attention"} <= charts.keys()
    assert {"share-spread", "accuracy", "composition"} <= charts.keys()
    cells = charts["attention"].table
    assert cells is not None
    assert len(cells) == 2 * len(REGIONS) * sum(LEVELS.values())
    assert set(cells["region"]) == set(REGIONS)
