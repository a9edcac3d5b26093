from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from audit.gate import Verdict
from audit.runs.folder import Run
from flows import artifacts
from reports.run import read_run
from tests.reports.factory import HOSTILE, make_run, write_json

KINDS = ("markdown", "table", "link")
MARKUP = re.compile(r"[<>\[\]`*_~@|\\!]|https?:|(?<!&)#")


def published(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[Any, dict[str, Any]]]:
    """What is sent to Prefect, by kind: content, and the rest by name."""
    sent: dict[str, tuple[Any, dict[str, Any]]] = {}
    for kind in KINDS:
        monkeypatch.setattr(
            artifacts,
            f"create_{kind}_artifact",
            lambda content, kind=kind, **rest: sent.update({kind: (content, rest)}),
        )
    report = "[report.html](report.html)"
    (folder / "summary.md").write_text(f"## FAIL\n\n{report}\n", encoding="utf-8")
    found = read_run(folder)
    findings = [finding | {"attention": "silent"} for finding in found.findings]
    write_json(folder / "findings.json", {"findings": findings})
    artifacts.publish(found.config, Verdict("FAIL", "Hair.", {"CONFIRMED": 2}), Run(folder))
    return sent


def test_verdict_findings_and_report_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "a run (1)", samples=60, pictures=1)
    sent = published(folder, monkeypatch)
    assert [rest["key"] for _, rest in sent.values()] == [
        "cuecheck-verdict", "cuecheck-findings", "cuecheck-report",
    ]  # fmt: skip
    link, rest = sent["link"]
    assert link == (folder / "report.html").as_uri()
    assert not set("() ") & set(link)
    assert rest["link_text"] == "Report of demo"
    markdown, rest = sent["markdown"]
    assert markdown == f"## FAIL\n\n[report.html]({link})\n"
    assert rest["description"] == "demo: FAIL"
    rows, _ = sent["table"]
    claims = [(row["status"], row["region"], row["class"]) for row in rows]
    assert claims == [
        ("CONFIRMED", "hair", "doctor"), ("CONFIRMED", "hair", "nurse"),
        ("INCONCLUSIVE", "face", "doctor"), ("INCONCLUSIVE", "face", "nurse"),
    ]  # fmt: skip
    assert all(re.fullmatch(r"-?[\d.]+ %", row["effect"]) for row in rows)
    assert rows[0]["attention"] == "hidden cue: relied on, though attention does not show it"


def test_hostile_names_are_text_and_the_table_is_capped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", labels=tuple(HOSTILE), samples=60, pictures=1)
    monkeypatch.setattr(artifacts, "ROWS", 5)
    rows, rest = published(folder, monkeypatch)["table"]
    assert len(rows) == 5
    assert rest["description"] == "demo: findings; 3 more in the report"
    cells = [value for row in rows for value in row.values() if isinstance(value, str)]
    assert any("script" in cell for cell in cells)
    assert not [cell for cell in cells if MARKUP.search(cell)]
