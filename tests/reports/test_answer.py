"""The first screen: what was found in sentences, what is open, how the tests ended."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit import tables
from reports import words
from reports.build import build_report
from reports.outcomes import outcome, tally
from tests.reports.factory import make_run, write_json


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", samples=60, pictures=3, attribute="gender x age")


def first_screen(run: Path) -> str:
    """Text of the first section."""
    page = build_report(run).read_text(encoding="utf-8")
    section = page[page.index('<section id="answer"') : page.index("</section>")]
    blocks = re.sub(r"</(?:p|dt|dd|li|b|small|h\d)>", " ", section)
    text = " ".join(unescape(re.sub(r"<[^>]+>", "", blocks)).replace("\u202f", " ").split())
    return re.sub(r" (?=[,;:.)])", "", text)


def change(run: Path, changed: dict[str, Any], **wanted: str) -> list[dict[str, Any]]:
    """Findings after a change to those with the wanted values."""
    findings: list[dict[str, Any]] = [
        finding | (changed if all(finding[key] == value for key, value in wanted.items()) else {})
        for finding in json.loads((run / "findings.json").read_text(encoding="utf-8"))["findings"]
    ]
    write_json(run / "findings.json", {"findings": findings})
    return findings


def cell(run: Path, act: dict[str, Any], region: str, label: str) -> pd.Series[Any]:
    """The evidence on women of the act."""
    evidence = tables.read_table(run / "evidence.parquet", tables.EVIDENCE)
    (row,) = (
        row
        for _, row in evidence.iterrows()
        if (row["measure"], row["region"], row["target_class"], row["act"], row["subgroup"])
        == ("excess_flips", region, label, act["act"], "woman x old")
    )
    return row


def percents(*values: float) -> list[str]:
    return [words.percent(value).replace("\u202f", " ") for value in values]


def test_a_card_names_cue_class_subgroup_effect_interval_and_n(run: Path) -> None:
    evidence = tables.read_table(run / "evidence.parquet", tables.EVIDENCE)
    evidence["subgroup"] = evidence["subgroup"].astype(object).replace("woman", "woman x old")
    tables.write_table(evidence, tables.EVIDENCE, run / "evidence.parquet")
    worst = {"attribute": "gender x age", "subgroup": "woman x old", "effect": 0.0}
    for finding in change(run, {}):
        act = finding["acts"][0]  # remove:blur
        decided = {key: act[key] for key in ("effect", "low", "high")} | {"acts": [act]}
        change(run, decided | {"worst_subgroup": worst}, fingerprint=finding["fingerprint"])
    findings = change(run, {})
    found = max((f for f in findings if f["region"] == "hair"), key=lambda f: f["effect"])
    women = cell(run, found["acts"][0], "hair", found["target_class"])
    effect, high, worst_effect = percents(found["effect"], found["high"], women["effect"])
    text = first_screen(run)
    assert f"Hide hair, and {effect} of the {found['target_class']} answers change, beyond" in text
    assert f"to {high}, 96 pictures)" in text
    assert f"It is strongest for gender woman, age old: {worst_effect} (" in text
    assert f"to {percents(women['high'])[0]}, 40 pictures)." in text
    assert "woman x old" not in text
    assert "How this can be wrong: the fill itself may look like a cue" in text


@pytest.mark.parametrize(
    ("act", "test", "sentence"),
    [
        ("swap", "removal", "Take hair from a picture of another subgroup, and"),
        ("keep:noise", "sufficiency", "Take what the class is about from another picture, and"),
    ],
)
def test_the_sentence_says_what_was_done(run: Path, act: str, test: str, sentence: str) -> None:
    found = change(run, {}, region="hair")[-1]
    acts = [found["acts"][0] | {"act": act, "effect": 0.3}]
    change(run, {"acts": acts, "effect": 0.3, "test": test}, region="hair")
    text = first_screen(run)
    assert sentence in text
    assert "Hide hair" not in text


def test_what_is_open_says_what_would_decide_it(run: Path) -> None:
    change(run, {"clusters_needed": None}, region="face", target_class="nurse")
    change(
        run,
        {"status": "ERROR", "reason": "The evidence lacks swap."},
        region="hair",
        target_class="nurse",
    )
    text = first_screen(run)
    assert "about 310 independent pictures would decide" in text
    assert "more pictures alone would not decide it" in text
    assert "hair for nurse: The evidence lacks swap." in text
    samples = tables.read_table(run / "samples.parquet", tables.SAMPLES)
    bad = (samples["status"] == tables.QUARANTINED).sum()
    assert f"samples quarantined {bad} of {len(samples)}; see why" in text


def test_tests_are_counted_by_how_they_ended(run: Path) -> None:
    change(run, {"attention": "nominated"}, region="face", target_class="nurse")
    findings = change(run, {"attention": "silent"}, region="hair", target_class="nurse")
    assert [outcome(finding) for finding in findings] == [
        "INCONCLUSIVE", "SUSPECT", "CONFIRMED", "HIDDEN",
    ]  # fmt: skip
    counts = {group["key"]: group["count"] for group in tally(findings)}
    assert counts == {
        "CONFIRMED": 1, "SUSPECT": 1, "HIDDEN": 1, "CLEARED": 0, "INCONCLUSIVE": 1, "ERROR": 0,
    }  # fmt: skip
    text = first_screen(run)
    assert "4 tests, by how they ended 1 Confirmed" in text
    assert "0 Could not run" in text
    page = (run / "report.html").read_text(encoding="utf-8")
    groups = re.findall(r'<div class="group" id="outcome-(\w+)">', page)
    assert groups == ["confirmed", "suspect", "hidden", "inconclusive"]
    assert set(re.findall(r'href="#outcome-(\w+)"', page)) == set(groups)


def test_looking_alone_accuses_nobody(run: Path) -> None:
    findings = change(run, {"status": "CLEARED", "attention": "nominated"})
    assert {outcome(finding) for finding in findings} == {"CLEARED"}
    assert "4 of them stand out in the heat maps, for all or for a subgroup." in first_screen(run)
