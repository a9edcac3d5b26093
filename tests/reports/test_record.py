"""The audit record says what the tables say, and a name from the data is never markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from audit.errors import RunError
from audit.gate.reasons import percent
from audit.runs.files import file_digest, read_json, write_text
from audit.runs.folder import Run
from audit.tables import EVIDENCE, SAMPLES, read_table
from reports.record import build_record
from tests.gate.runs import write_run
from tests.reports.runs import sealed_run

PROVISIONS = (
    "Art. 10(2)(f)",
    "Art. 10(2)(g)",
    "Art. 15(1)",
    "Art. 15(4)",
    "Art. 15(5)",
    "MEASURE 2.11",
)
OWN_TAGS = {
    *("h1", "h2", "h3", "p", "strong", "code", "ul", "li"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Tags(HTMLParser):
    """The tags of a page, and the cells of its tables."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        data = data.replace("\u200b", "")
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


def shown(path: Path) -> Tags:
    """As a Markdown viewer shows it that lets HTML through and links addresses."""
    viewer = MarkdownIt("commonmark", {"html": True}).enable("table")
    page = Tags()
    page.feed(viewer.render(path.read_text(encoding="utf-8")))
    return page


def record(run: Path, folder: Path) -> Tags:
    return shown(build_record(run, folder / "record.md"))


def test_it_says_what_the_run_holds(runs: Path, tmp_path: Path) -> None:
    run = Run(runs / "biased")
    page = record(run.folder, tmp_path)
    verdict = read_json(run.verdict)
    assert f"Verdict: {verdict['verdict']}." in page.text
    assert verdict["reason"] in page.text
    assert ["SHA-256 of the run's record", file_digest(run.record)] in page.rows
    for finding in read_json(run.findings)["findings"]:
        (row,) = (
            row
            for row in page.rows
            if row[:4] == [finding[key] for key in ("region", "target_class", "test", "status")]
        )
        assert row[4] == percent(finding["effect"])
        assert row[5] == f"{percent(finding['low'])} to {percent(finding['high'])}"
    evidence = read_table(run.table("evidence"), EVIDENCE)
    cells = evidence[(evidence["measure"] == "accuracy") & (evidence["target_class"] == "*")]
    for _, cell in cells.iterrows():
        name = "all" if cell["attribute"] == "*" else f"{cell['attribute']}: {cell['subgroup']}"
        accuracy = [row[2] for row in page.rows if row[:2] == ["all classes", name]]
        assert accuracy == [percent(cell["effect"])]
    samples = read_table(run.table("samples"), SAMPLES)
    audited = samples[(samples["part"] == "audit") & (samples["status"] == "ok")]
    units = audited["cluster_id"].nunique()
    assert ["audited pictures", f"{len(audited)} in {units} independent units"] in page.rows


def test_each_provision_has_a_row_and_none_is_claimed_to_be_met(runs: Path, tmp_path: Path) -> None:
    page = record(runs / "biased", tmp_path)
    told = [row for row in page.rows if len(row) == 5 and row[0] != "provision"]
    assert len(told) == len(PROVISIONS)
    for provision, row in zip(PROVISIONS, told, strict=True):
        assert provision in row[0]
        assert all(cell.strip() for cell in row)
    assert "no claim of conformity" in page.text
    assert not re.search(r"\b(complies|compliant|conforms|certif)", page.text)


def test_what_was_not_tested_is_told(tmp_path: Path) -> None:
    run = sealed_run(tmp_path / "few", n=40, pictures=())  # too few to decide anything
    page = record(run.folder, tmp_path)
    open_ones = [
        finding
        for finding in read_json(run.findings)["findings"]
        if finding["status"] in ("INCONCLUSIVE", "ERROR")
    ]
    assert open_ones
    for finding in open_ones:
        told = f"Not decided ({finding['status']}): {finding['region']}, {finding['target_class']}."
        assert told in page.text
        assert finding["reason"] in page.text
    assert "not required to be tested: tools." in page.text
    assert "Whether the heat maps can be trusted on this model." in page.text


def test_hostile_names_stay_text_in_their_cells(runs: Path, tmp_path: Path) -> None:
    page = record(runs / "odd", tmp_path)
    assert page.tags <= OWN_TAGS
    widths = {len(row) for row in page.rows}
    assert widths == {2, 5, 6, 7}
    assert any("<img src=x" in cell for row in page.rows for cell in row)


def test_only_a_finished_and_unaltered_run_has_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(RunError, match="lies in the run"):
        build_record(run.folder, run.folder / "record.md")
    write_text(run.verdict, run.verdict.read_text().replace("FAIL", "PASS") + " ")
    with pytest.raises(RunError, match="altered"):
        build_record(run.folder, tmp_path / "record.md")
    run.record.unlink()
    with pytest.raises(RunError, match="not a finished run"):
        build_record(run.folder, tmp_path / "record.md")
    assert not (tmp_path / "record.md").exists()
