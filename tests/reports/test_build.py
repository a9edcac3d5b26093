"""The report as a file: complete, self-contained, safe with hostile names, clear when it fails."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from audit import tables
from audit.config import FillName
from audit.errors import ConfigError, RunError
from reports.build import build_report
from reports.pictures import embed
from reports.run import read_run
from tests.reports.factory import HOSTILE, make_run, write_json

REQUIRED = (
    "config.yaml",
    "provenance.json",
    "samples.parquet",
    "attention.parquet",
    "interventions.parquet",
    "evidence.parquet",
    "findings.json",
    "verdict.json",
)


class Page(HTMLParser):
    """Elements with their attributes, visible text and the content of scripts, by id."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside: str | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " "
        self._inside = tag if tag in ("script", "style") else None
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif self._inside is None:
            self.text += data

    def data(self) -> dict[str, Any]:
        found = [text for attributes, text in self.scripts if attributes.get("id") == "report-data"]
        return dict(json.loads(found[0]))

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.elements if "id" in attributes]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", samples=60, pictures=3)


def test_fail_shows_verdict_reason_and_a_card_per_confirmed_region(failed: Path) -> None:
    page = Page(failed)
    verdict = json.loads((failed.parent / "verdict.json").read_text())
    assert "FAIL" in page.text
    assert verdict["reason"] in page.text
    cards = [element for element in page.elements if element[1].get("class") == "card"]
    assert len(cards) == 1  # hair, for both classes
    findings = json.loads((failed.parent / "findings.json").read_text())["findings"]
    assert {f"finding-{finding['fingerprint']}" for finding in findings} <= set(page.ids())


def test_pass_has_no_cards(passed: Path) -> None:
    page = Page(passed)
    assert "PASS" in page.text
    assert not [element for element in page.elements if element[1].get("class") == "card"]


def test_it_tells_a_manager_who_is_harmed(failed: Path, passed: Path) -> None:
    text = _plain(Page(failed).text)
    assert "doctor, gender woman: 62 % of the answers are right (40 pictures)" in text
    assert "no group of this size truly has less than 58 %" in text
    assert "30 more of 100 answers are right than where it does not" in text
    assert "The model is surer than it should be for all pictures together (+12 %), gender" in text
    assert "8.0 % (2 bins)" in text
    calm = _plain(Page(passed).text)
    assert "No clear difference between pictures in which gender goes with the class" in calm
    assert "No group was found for which the model is surer" in calm


def test_without_evidence_of_harm_there_is_no_such_section(run: Path) -> None:
    evidence = tables.read_table(run / "evidence.parquet", tables.EVIDENCE)
    kept = evidence[evidence["measure"].isin(["excess_flips", "accuracy", "share", "log_rho"])]
    tables.write_table(kept, tables.EVIDENCE, run / "evidence.parquet")
    assert "harm" not in Page(build_report(run)).ids()


def _plain(text: str) -> str:
    return " ".join(text.replace("\u202f", " ").split())


def test_neurons_and_unnamed_cues_are_told_in_words(failed: Path) -> None:
    text = " ".join(Page(failed).text.split()).replace("\u202f", " ")
    assert "50 % of its score hair 60 %, unnamed 40 %" in text
    assert "Unnamed cue 1 for doctor · not confirmed" in text
    assert "The patch is 80 % background, 15 % clothing, 5.0 % in no annotated region" in text
    assert "Wrong answers: 70 % with this cue, 40 % with the class's others" in text


def test_every_fill_has_plain_words(failed: Path) -> None:
    told = Page(failed).data()["gallery"]["fills"]
    assert set(told) == {*get_args(FillName), "donor"}
    assert all(told[name] != name for name in told if name != "noise")


def test_a_run_without_discovery_has_no_such_sections(run: Path) -> None:
    for name in ("neurons", "cues", "cue_associations"):
        (run / f"{name}.parquet").unlink()
    shutil.rmtree(run / "cues")
    assert not {"neurons", "cues"} & set(Page(build_report(run)).ids())


@pytest.mark.parametrize("file", ["../verdict.json", "missing.webp", "../../x.webp"])
def test_pictures_of_cues_lie_in_their_folder(run: Path, file: str) -> None:
    records = json.loads((run / "cues" / "pictures.json").read_text())
    records["pictures"][0]["file"] = file
    write_json(run / "cues" / "pictures.json", records)
    with pytest.raises(RunError, match=r"cues"):
        build_report(run)


def test_counts_are_those_of_the_tables(failed: Path) -> None:
    samples = tables.read_table(failed.parent / "samples.parquet", tables.SAMPLES)
    audited = ((samples["part"] == "audit") & (samples["status"] == "ok")).sum()
    quarantined = (samples["status"] == "quarantined").sum()
    text = " ".join(Page(failed).text.split())
    assert f"pictures audited {audited} " in text
    assert f"Quarantined samples {quarantined} " in text


def test_a_draw_is_told(run: Path) -> None:
    assert "audited samples, drawn by chance" not in Page(build_report(run)).text
    samples = tables.read_table(run / "samples.parquet", tables.SAMPLES)
    audited = (samples["part"] == "audit") & (samples["status"] == "ok")
    samples.loc[audited.to_numpy().nonzero()[0][:20], "stands_for"] = 0.0
    tables.write_table(samples, tables.SAMPLES, run / "samples.parquet")
    text = " ".join(Page(build_report(run)).text.split())
    assert f"Done on {audited.sum() - 20} of {audited.sum()} audited samples" in text


def test_intervals_are_called_by_the_confidence_asked_for(run: Path, failed: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text() + "statistics: {confidence: 0.975}\n")
    told, usual = Page(build_report(run)), Page(failed)
    hints = [attributes.get("data-tip") or "" for _, attributes in told.elements]
    assert "95\u202f%" not in told.text
    assert told.text.count("97.5\u202f%") == usual.text.count("95\u202f%") > 10
    assert any("about 97.5\u202f% of such intervals" in hint for hint in hints)


def test_ids_are_unique_and_links_lead_somewhere(failed: Path) -> None:
    page = Page(failed)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in page.elements if tag == "a" and a.get("href")]
    assert links
    assert {str(link).removeprefix("#").split("?")[0] for link in links} <= set(ids)


@pytest.mark.parametrize("name", ["failed", "passed", "hostile"])
def test_is_self_contained_and_small(name: str, request: pytest.FixtureRequest) -> None:
    report: Path = request.getfixturevalue(name)
    text = report.read_text(encoding="utf-8")
    page = Page(report)
    assert len(text.encode()) < 6_000_000
    assert text.count('id="report-plotly"') == 1
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not {"srcset", "action"} & attributes.keys()
        source = attributes.get("src")
        assert source is None or (tag == "img" and source.startswith("data:image/webp;base64,"))
        assert not [key for key in attributes if key.startswith("on")]


def test_policy_allows_nothing_from_the_network(failed: Path) -> None:
    policies = [
        attributes["content"] or ""
        for tag, attributes in Page(failed).elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policies[0].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert all(source.startswith("'sha256-") for source in rules["script-src"].split())
    assert "connect-src" not in rules  # falls back to none


def test_hostile_names_are_text_everywhere(hostile: Path) -> None:
    page = Page(hostile)
    raw = hostile.read_text(encoding="utf-8")
    assert "<img src=x" not in raw
    assert "<b>bold" not in raw
    assert not [tag for tag, attributes in page.elements if attributes.get("src") == "x"]
    assert HOSTILE[0] in page.text
    titles = {attributes.get("title") for _, attributes in page.elements}
    assert HOSTILE[3] in titles  # cut on the page, whole in the tooltip
    labels = {picture["label"] for picture in page.data()["gallery"]["pictures"]}
    assert labels == set(HOSTILE)


def test_pictures_are_embedded_once(failed: Path) -> None:
    files = Page(failed).data()["gallery"]["files"]
    stored = {path.name for path in (failed.parent / "pictures").glob("*.webp")}
    assert set(files) == stored
    assert all(uri.startswith("data:image/webp;base64,") for uri in files.values())


def test_same_run_gives_the_same_bytes(run: Path) -> None:
    assert build_report(run).read_bytes() == build_report(run).read_bytes()
    assert not list(run.glob(".*.tmp"))


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(RunError, match=re.escape(name)):
        build_report(run)
    assert not (run / "report.html").exists()


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        build_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("findings.json", "{", r"findings\.json: not readable as JSON"),
        ("findings.json", "[]", r"findings\.json: must be a JSON object with the key 'findings'"),
        ("findings.json", '{"findings": [1]}', r"findings\.json: 'findings' must be a list"),
        ("verdict.json", "{}", r"verdict\.json: must be a JSON object with the key 'verdict'"),
        ("evidence.parquet", "text", r"evidence\.parquet: not a readable Parquet file"),
        ("pictures/pictures.json", "[]", r"pictures\.json: must be a JSON object"),
    ],
)
def test_broken_file_is_named(run: Path, name: str, content: str, message: str) -> None:
    (run / name).write_text(content)
    with pytest.raises(RunError, match=message):
        build_report(run)


def test_broken_config_is_named(run: Path) -> None:
    (run / "config.yaml").write_text("name: [")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        build_report(run)


@pytest.mark.parametrize("name", ["../config.yaml", "../../secret.webp", "config.yaml", "/x.webp"])
def test_pictures_are_read_from_their_folder_only(run: Path, name: str) -> None:
    path = run / "pictures" / "pictures.json"
    record = json.loads(path.read_text())
    record["pictures"][0]["original"] = name
    write_json(path, record)
    with pytest.raises(RunError, match="not a picture in that folder"):
        embed(read_run(run))


def test_missing_picture_is_named(run: Path) -> None:
    (run / "pictures" / "0001-true.webp").unlink()
    with pytest.raises(RunError, match=r"0001-true\.webp"):
        build_report(run)


def test_builds_without_the_optional_parts(run: Path) -> None:
    shutil.rmtree(run / "pictures")
    shutil.rmtree(run / "model")
    page = Page(build_report(run))
    assert "pictures" not in page.ids()
    assert "training" not in page.ids()


def test_error_run_without_any_evidence_builds(run: Path) -> None:
    tables.write_table(tables.empty(tables.EVIDENCE), tables.EVIDENCE, run / "evidence.parquet")
    lost = {
        "fingerprint": "f1", "region": "hair", "target_class": "*", "role": "forbidden",
        "test": "removal", "status": "ERROR", "reason": "No act could be measured.",
        "effect": None, "low": None, "high": None, "lower_limit": None, "upper_limit": None,
        "p_adjusted": None, "n": 0, "clusters": 0, "clusters_needed": None, "acts": [],
        "worst_subgroup": None,
    }  # fmt: skip
    write_json(run / "findings.json", {"findings": [lost]})
    write_json(run / "verdict.json", {"verdict": "ERROR", "reason": "hair: nothing measured"})
    page = Page(build_report(run))
    assert "ERROR" in page.text
    assert "No act could be measured." in page.text
    assert "NaN" not in page.text


def test_void_waivers_are_told_below_the_verdict(run: Path) -> None:
    verdict = json.loads((run / "verdict.json").read_text())
    warnings = [f"Waiver 1 ({name}) is void: it has no owner." for name in HOSTILE]
    write_json(run / "verdict.json", verdict | {"warnings": warnings})
    page = Page(build_report(run))
    for warning in warnings:
        assert warning in page.text


def test_pictures_beyond_the_budget_are_left_out_and_counted(
    run: Path,
) -> None:
    folder = run / "pictures"
    first = sum(path.stat().st_size for path in folder.glob("0000-*.webp"))
    gallery = embed(read_run(run), budget=first)
    assert len(gallery["pictures"]) == 1
    assert gallery["left_out"] == 2


def test_the_attention_screen_is_a_table_and_hostile_names_are_text(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    evidence = tables.read_table(folder / "evidence.parquet", tables.EVIDENCE)
    rows = evidence[evidence["measure"] == "share"].head(2)
    rows = rows.astype(object)
    rows["measure"], rows["target_class"] = ["alignment", "disparity"], HOSTILE[0]
    rows["subgroup"], rows["p_adjusted"], rows["effect"] = HOSTILE[1], 0.0123, 0.25
    table = pd.concat([evidence.astype(object), rows.astype(object)], ignore_index=True)
    tables.write_table(table, tables.EVIDENCE, folder / "evidence.parquet")
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))["findings"]
    found[0]["attention"] = "silent"
    write_json(folder / "findings.json", {"findings": found})
    page = build_report(folder).read_text(encoding="utf-8")
    assert page.count("0.012") >= 2
    assert "1.28×" in page
    assert HOSTILE[0] not in page
    assert "hidden cue: relied on" in page or found[0]["status"] != "CONFIRMED"
    assert 'data-tip="The attention screen found nothing.' in page
