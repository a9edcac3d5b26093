"""The charts: what they draw is their table, and one filter drives them all."""

from __future__ import annotations

import csv
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit import tables
from reports import words
from reports.build import build_report
from reports.figures import (
    accuracy,
    association,
    attention,
    composition,
    distributions,
    effects,
    style,
)
from reports.figures.table import embed
from reports.run import Run, read_run
from tests.reports.browser import EXECUTABLE, Page, chromium
from tests.reports.factory import HOSTILE, make_run
from tests.reports.test_browser import READY

FORMULA = '=HYPERLINK("x","y")'
LABELS = (FORMULA, HOSTILE[0], "nurse")
ACTS = (("removal", "blur"), ("swap", "donor"))
LEVELS = {"5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run with hostile names, clusters of two, and altered pictures of hair."""
    folder = make_run(tmp_path_factory.mktemp("charts") / "run", labels=LABELS)
    samples = tables.read_table(folder / "samples.parquet", tables.SAMPLES)
    samples["cluster_id"] = [f"c{i // 6}" for i in range(len(samples))]  # of both genders
    samples["stands_for"] = [1.0 + (i // 6) % 3 - (i // 6 % 5 == 0) for i in range(len(samples))]
    tables.write_table(samples, tables.SAMPLES, folder / "samples.parquet")
    rng = np.random.default_rng(3)
    rows = [
        {
            "sample_id": row.sample_id, "region": "hair", "test": test, "arm": arm, "fill": fill,
            "donor_id": None, "area": 0.1, "margin_before": row.margin,
            "margin_after": row.margin - (arm == "act") * rng.uniform(0, 2),
            "prediction_before": row.prediction, "prediction_after": row.prediction,
            "true_margin_before": 0.0, "true_margin_after": 0.0,
            "logits_before": None, "logits_after": None,
        }
        for row in samples[samples["prediction"].notna()].itertuples()
        for test, fill in ACTS
        for arm in ("act", "placebo")
    ]  # fmt: skip
    tables.write_table(pd.DataFrame(rows), tables.INTERVENTIONS, folder / "interventions.parquet")
    associations = [
        {
            "part": part, "kind": kind, "factor": factor, "target_class": target,
            "measure": measure, "n": 90, "clusters": 80, "levels": 2, "effect": effect,
            "low": effect - 0.1, "high": effect + 0.1, "lower_limit": 0.0, "upper_limit": 1.0,
            "information": None, "information_null": None, "p": 0.01, "p_adjusted": 0.02,
        }
        for part in ("training", "audit")
        for kind, factor, target, measure, effect in (
            ("attribute", HOSTILE[0], "*", "cramers_v", 0.2 + 0.5 * (part == "training")),
            ("region", "hair", "*", "cramers_v", 0.1),
            ("property", "brightness", "nurse", "auc", 0.9),
        )
    ]  # fmt: skip
    tables.write_table(
        pd.DataFrame(associations), tables.ASSOCIATION, folder / "association.parquet"
    )
    return build_report(folder)


@pytest.fixture(scope="module")
def run(report: Path) -> Run:
    return read_run(report.parent)


def chart_of(run: Run, name: str) -> style.Chart:
    made = {
        "effects": effects.by_act,
        "effects-by-subgroup": effects.by_subgroup,
        "attention": attention.by_cell,
        "share-spread": distributions.of_shares,
        "margin-drop-spread": distributions.of_margin_drops,
        "accuracy": accuracy.by_subgroup,
        "composition": composition.by_class,
        "association": association.with_class,
    }[name](run)
    assert made is not None
    assert made.id == name
    return made


def slow_quantile(values: list[float], weights: list[float], level: float) -> float:
    """The smallest value that at least ``level`` of the weight does not exceed."""
    for value in sorted(values):
        below = sum(w for v, w in zip(values, weights, strict=True) if v <= value)
        if below >= level * sum(weights) - 1e-12:
            return value
    raise AssertionError("no value")


def slow_spread(
    run: Run, numbers: dict[str, float], classes: dict[str, str], attribute: str, drawn: bool
) -> dict[tuple[str, str], dict[str, float]]:
    """Quantiles per class and subgroup, one picture and one cluster at a time."""
    pictures: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    weight = {}
    for sample in run.audited.to_dict("records"):
        name, cluster = sample["sample_id"], sample["cluster_id"]
        weight[cluster] = sample["stands_for"] if drawn else 1.0
        if name in numbers and weight[cluster] > 0:
            cell = (classes[name], sample[tables.attribute_column(attribute)])
            pictures[cell][cluster].append(numbers[name])
    return {
        cell: {
            level: slow_quantile(
                [float(np.mean(values)) for values in clusters.values()],
                [weight[cluster] for cluster in clusters],
                q,
            )
            for level, q in LEVELS.items()
        }
        | {
            "pictures": sum(map(len, clusters.values())),
            "independent": len(clusters),
        }
        for cell, clusters in pictures.items()
    }


def assert_spread(
    table: pd.DataFrame, measure: str, wanted: dict[tuple[str, str], dict[str, float]]
) -> None:
    found = {(row["class"], row["subgroup"]): row for row in table.to_dict("records")}
    assert found.keys() == wanted.keys()
    for cell, numbers in wanted.items():
        for name, value in numbers.items():
            column = f"{measure} {name}" if name in LEVELS else name
            assert found[cell][column] == pytest.approx(value), (cell, name)


@pytest.mark.parametrize("attribute", ["gender", "skin_tone"])
def test_shares_spread_as_a_slow_loop_says(run: Run, attribute: str) -> None:
    rows = run.attention[run.attention["region"] == "hair"]
    shares = dict(zip(rows["sample_id"], rows["share"].astype(float), strict=True))
    labels = dict(zip(run.audited["sample_id"], run.audited["label"], strict=True))
    table = chart_of(run, "share-spread").table
    assert table is not None
    table = table[(table["region"] == "hair") & (table["attribute"] == attribute)]
    assert_spread(table, "share", slow_spread(run, shares, labels, attribute, drawn=False))


def test_margin_drops_spread_as_a_slow_loop_says(run: Run) -> None:
    rows = tables.read_table(run.folder / "interventions.parquet", tables.INTERVENTIONS)
    after = {
        (row.sample_id, row.arm): row.margin_after
        for row in rows.itertuples()
        if row.test == "removal"
    }
    spread = run.audited["margin"].astype(float).std()
    drops = {
        name: (after[name, "placebo"] - margin) / spread
        for (name, arm), margin in after.items()
        if arm == "act"
    }
    predictions = dict(zip(run.audited["sample_id"], run.audited["prediction"], strict=True))
    table = chart_of(run, "margin-drop-spread").table
    assert table is not None
    table = table[(table["attribute"] == "gender") & (table["altered"] == "hidden: blurred")]
    wanted = slow_spread(run, drops, predictions, "gender", drawn=True)
    assert_spread(table, "margin drop", wanted)


def test_a_run_without_altered_pictures_has_no_spread_of_effects(tmp_path: Path) -> None:
    assert distributions.of_margin_drops(read_run(make_run(tmp_path / "run", samples=40))) is None


@pytest.mark.parametrize("left", [1, None])  # one audited sample; many of one margin
def test_without_a_spread_of_margins_there_is_no_unit_to_draw_effects_in(
    run: Run, left: int | None
) -> None:
    samples = run.audited.iloc[:left].assign(margin=2.0)
    assert distributions.of_margin_drops(replace(run, samples=samples)) is None


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("effects", "effect"),
        ("effects-by-subgroup", "effect"),
        ("attention", None),
        ("share-spread", "share median"),
        ("margin-drop-spread", "margin drop median"),
        ("accuracy", "accuracy"),
        ("composition", "part"),
        ("association", "Cramer's V"),
    ],
)
def test_every_point_lies_where_its_row_of_the_table_says(
    run: Run, name: str, column: str | None
) -> None:
    chart = chart_of(run, name)
    table = chart.table
    assert table is not None
    drawn = set()
    for figure in chart.figures.values():
        for trace in figure.to_plotly_json()["data"]:
            if trace["type"] == "heatmap":
                assert_grid(trace, figure, table, grey_below=run.config.policy.min_clusters)
                drawn |= {row for line in trace["customdata"] for row in line if row is not None}
                continue
            drawn |= set(trace["customdata"])
            shown = table.loc[trace["customdata"], column].to_numpy()
            np.testing.assert_allclose(trace["x"], shown, rtol=1e-4, atol=1e-9)
            if "error_x" in trace and f"{column} low" in table:
                low = np.subtract(trace["x"], trace["error_x"]["arrayminus"])
                wanted = table.loc[trace["customdata"], f"{column} low"]
                np.testing.assert_allclose(low, wanted, rtol=1e-3, atol=1e-4)
    assert drawn == set(range(len(table)))


def assert_grid(
    trace: dict[str, Any], figure: Any, table: pd.DataFrame, *, grey_below: int
) -> None:
    columns = figure.layout.xaxis.ticktext
    grey = len({colour for _, colour in trace["colorscale"]}) == 1
    for z, cells in zip(trace["z"], trace["customdata"], strict=True):
        for value, row, column in zip(z, cells, columns, strict=True):
            if row is None:
                assert value is None
                continue
            line = table.loc[row]
            assert line["region"] == column
            assert grey == (line["independent"] < grey_below)
            if not grey:
                known = [line.get("effect"), line.get("share"), np.log(line.get("density", 1.0))]
                assert any(number == pytest.approx(value, rel=1e-3) for number in known if number)


def test_association_shows_what_concerns_all_classes_strongest_first(run: Run) -> None:
    table = chart_of(run, "association").table
    assert table is not None
    assert table["factor"].tolist() == [HOSTILE[0], HOSTILE[0], "hair", "hair"]
    assert table["data"].tolist() == ["training", "audit", "training", "audit"]


def test_embedded_columns_are_the_table() -> None:
    table = pd.DataFrame(
        {
            "class": ["b", "a", "b"], "share": [0.123456789, None, 1.0], "share 5 %": [0.0, 0.5, 1],
            "pictures": [12, 1234567, 0],
        }
    )  # fmt: skip
    columns = {column["name"]: column for column in embed(table)}
    named = columns["class"]
    assert [named["levels"][code] for code in named["codes"]] == ["b", "a", "b"]
    assert columns["share"]["values"] == [0.12346, None, 1.0]
    assert columns["share"]["format"] == columns["share 5 %"]["format"] == "percent"
    assert columns["pictures"]["values"] == [12, 1234567, 0]


# In the browser


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if EXECUTABLE is None:
        pytest.skip("no Chromium on this machine")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        page.resize(1440)
        page.open(report, ready=READY)
        yield page
        assert page.problems == []


def choose(page: Page, **wanted: str) -> None:
    """Set the page's filter; what is not named is set to all."""
    page.evaluate(
        f"""(() => {{
          const wanted = {json.dumps(wanted)}, bar = document.getElementById("filter");
          for (const select of bar.querySelectorAll("select")) {{
            const at = [...select.options].findIndex((option) => select.name === "subgroup"
              ? option.dataset.attribute === wanted.attribute
                && option.dataset.subgroup === (wanted.subgroup ?? "")
              : option.value === wanted[select.name]);
            select.selectedIndex = Math.max(0, at);
          }}
          bar.dispatchEvent(new Event("change"));
        }})()"""
    )
    page.wait(READY)


def plot(name: str) -> str:
    return f"document.querySelector('[data-plot=\"{name}\"]')"


def ticks(page: Page, name: str, axis: str = "y") -> list[str]:
    return list(page.evaluate(f"{plot(name)}.layout.{axis}axis.ticktext"))


def test_one_filter_drives_all_charts_and_the_pictures(page: Page) -> None:
    choose(page)
    before = page.evaluate(f"{plot('share-spread')}.layout.height")
    assert len(ticks(page, "attention")) == 2 * len(LABELS)
    choose(page, **{"class": "nurse", "region": "hair"}, attribute="skin_tone", subgroup="3")
    assert ticks(page, "attention") == ["nurse · 3"]
    assert ticks(page, "attention", "x") == ["hair"]
    assert ticks(page, "share-spread") == ["hair · nurse"]
    assert ticks(page, "effects") == ["hair · nurse"]
    assert ticks(page, "composition") == ["nurse"]
    assert page.evaluate(f"{plot('accuracy')}.data.map((trace) => trace.name)") == ["3"]
    assert page.evaluate(f"{plot('share-spread')}.layout.height") < before
    labels = page.evaluate(
        "[...document.querySelectorAll('.grid .words > bdi')].map((b) => b.textContent)"
    )
    assert set(labels) <= {"nurse"}
    assert len(labels) == page.evaluate(
        "data.gallery.pictures.filter((p) => p.label === 'nurse' && p.attributes.skin_tone === '3')"
        ".length"
    )
    notes = {
        name: page.evaluate(
            f"{plot(name)}.closest('figure').querySelector('.chart-note').textContent"
        )
        for name in ("effects", "accuracy", "training", "attention")
    }
    assert notes["effects"].startswith("Not split by subgroup;")
    assert notes["accuracy"].startswith("Not split by region;")
    assert notes["training"].startswith("Not split by class or subgroup or region;")
    assert notes["attention"] == ""


def test_a_link_keeps_the_filter_and_clear_ends_it(page: Page, report: Path) -> None:
    choose(page, **{"class": HOSTILE[0], "region": "face"})
    link = page.evaluate("location.href")
    page.open(report, ready=f"{READY} && location.hash === ''")
    page.call("Page.navigate", url=link)
    page.wait(f"{READY} && document.querySelector('#filter [name=region]').value === 'face'")
    page.wait(f"{plot('effects')}.layout.yaxis.ticktext.length === 1")
    assert page.evaluate("document.querySelector('#filter [name=class]').value") == HOSTILE[0]
    page.evaluate("document.querySelector('#filter button').click()")
    page.wait(f"{READY} && {plot('effects')}.layout.yaxis.ticktext.length === {2 * len(LABELS)}")
    assert page.evaluate("location.hash") == "#filter"


def test_a_finding_links_to_its_charts_and_pictures(page: Page) -> None:
    choose(page)
    link = "document.querySelector('.finding a[href^=\"#filter\"]')"
    page.evaluate(f"{link}.closest('details').open = true")
    name = page.evaluate(f"{link}.closest('details').querySelector('.finding-name').textContent")
    page.evaluate(f"{link}.click()")
    page.wait(f"{plot('effects')}.layout.yaxis.ticktext.length === 1 && {READY}")
    region, label = page.evaluate(
        "['region', 'class'].map((name) => document.querySelector(`#filter [name=${name}]`).value)"
    )
    assert name == f"{region} for {label}"
    page.wait("Math.abs(document.getElementById('filter').getBoundingClientRect().top) < 100")


def test_a_choice_without_data_says_so(page: Page) -> None:
    choose(page, region="background")  # no intervention on it
    assert page.evaluate(f"{plot('effects')}.textContent") == "Nothing here passes the filter."
    choose(page)
    assert len(ticks(page, "effects")) == 2 * len(LABELS)
    assert "passes the filter" not in page.evaluate(f"{plot('effects')}.textContent")


def hover(page: Page, name: str, x: float, y: float) -> str:
    """What the chart says when the mouse rests on a point of its axes."""
    page.evaluate(f"{plot(name)}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    at = page.evaluate(
        f"""(() => {{
          const {{ xaxis, yaxis }} = {plot(name)}._fullLayout;
          const box = {plot(name)}.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.d2p({x}),
                  box.top + yaxis._offset + yaxis.d2p({y})];
        }})()"""
    )
    # The browser finds what is under the mouse by the frame that it has drawn last.
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
    for step in (3, 0):
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0] + step, y=at[1])
    page.wait(f"{plot(name)}.querySelector('.hoverlayer text')")
    return str(page.evaluate(f"{plot(name)}.querySelector('.hoverlayer').textContent"))


def test_hover_tells_the_row_with_its_interval(page: Page, run: Run) -> None:
    choose(page, region="hair", attribute="gender", subgroup="man")
    shares = chart_of(run, "attention").table
    assert shares is not None
    row = shares[(shares["region"] == "hair") & (shares["class"] == HOSTILE[0])].iloc[0]
    assert row["subgroup"] == "man"
    said = hover(page, "attention", 0, 1)
    low, high = (words.percent(row[f"share {end}"]) for end in ("low", "high"))
    assert f"share {words.percent(row['share'])} ({low} to {high})" in said
    assert f"class {HOSTILE[0]}" in said
    assert f"independent {row['independent']}" in said

    table = chart_of(run, "effects").table
    assert table is not None
    row = table[(table["region"] == "hair") & (table["class"] == FORMULA)].iloc[0]
    said = hover(page, "effects", row["effect"], -0.25)
    low, high = (words.percent(row[f"effect {end}"], signed=True) for end in ("low", "high"))
    assert f"effect {words.percent(row['effect'], signed=True)} ({low} to {high})" in said
    assert f"altered {row['altered']}" in said


def downloaded(page: Page, folder: Path, name: str, kind: str) -> Path:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.evaluate(f"{plot(name)}.closest('figure').querySelector('[data-export={kind}]').click()")
    file = folder / f"{name}.{kind}"
    deadline = time.monotonic() + 60
    while not file.is_file():  # it has another name until it is whole
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return file


def test_csv_is_the_table_as_filtered(page: Page, run: Run, tmp_path: Path) -> None:
    choose(page, region="hair", attribute="gender")
    file = downloaded(page, tmp_path, "attention", "csv")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    table = chart_of(run, "attention").table
    assert table is not None
    wanted = table[(table["region"] == "hair") & (table["attribute"] == "gender")]
    assert len(rows) == len(wanted) == 2 * len(LABELS)
    for found, (_, row) in zip(rows, wanted.iterrows(), strict=True):
        assert list(found) == list(table.columns)
        harmless = f"'{FORMULA}" if row["class"] == FORMULA else row["class"]
        assert found["class"] == harmless
        assert found["subgroup"] == row["subgroup"]
        for name in ("share", "density low", "independent"):
            assert float(found[name]) == pytest.approx(row[name], rel=1e-4)


def test_table_view_is_built_when_opened(page: Page) -> None:
    choose(page, **{"class": FORMULA}, attribute="gender")
    details = f"{plot('accuracy')}.closest('figure').querySelector('details')"
    assert page.evaluate(f"{details}.querySelector('table')") is None
    page.evaluate(f"{details}.open = true")
    page.wait(f"{details}.querySelector('table')")
    cells = page.evaluate(
        f"[...{details}.querySelectorAll('tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [(row[0], row[2]) for row in cells] == [(FORMULA, "man"), (FORMULA, "woman")]
    choose(page, **{"class": "nurse"}, attribute="gender")
    page.wait(f"{details}.querySelector('tbody td').textContent === 'nurse'")
    page.evaluate(f"{details}.open = false")


def test_pictures_of_charts_are_made_offline(page: Page, tmp_path: Path) -> None:
    choose(page)
    with Image.open(downloaded(page, tmp_path, "effects", "png")) as picture:
        height = page.evaluate(f"{plot('effects')}.layout.height")
        assert picture.size[1] == 2 * height
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    drawing = ElementTree.parse(downloaded(page, tmp_path, "effects", "svg"))
    assert "fail limit" in "".join(drawing.getroot().itertext())


def test_many_rows_are_drawn_when_asked_for_and_always_saved(page: Page, tmp_path: Path) -> None:
    labels = tuple(f"class {i:02}" for i in range(31))
    folder = make_run(tmp_path / "many", labels=labels, samples=62, pictures=1)
    page.open(build_report(folder), ready=f"{READY} && data.charts && {plot('attention')}")
    rows = 2 * len(labels)
    assert len(ticks(page, "attention")) == 60
    note = f"{plot('attention')}.closest('figure').querySelector('.chart-note')"
    assert page.evaluate(f"{note}.textContent").startswith(f"{rows - 60} more rows are not drawn")
    saved = pd.read_csv(downloaded(page, tmp_path, "attention", "csv"))
    assert saved.groupby(["class", "subgroup"]).ngroups == rows
    page.evaluate(f"{note}.querySelector('button').click()")
    assert len(ticks(page, "attention")) == rows
    assert page.evaluate(f"{note}.hidden")


def test_print_draws_every_chart_on_paper_and_no_tables(page: Page, report: Path) -> None:
    page.open(report, ready=f"window.Plotly && {plot('effects')}")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = "[...document.querySelectorAll('[data-plot]')].map((plot) => plot._fullLayout.width)"
    assert set(page.evaluate(widths)) == {640}
    assert page.evaluate("document.querySelectorAll('.chart-table[open]').length") == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait(READY)
    assert all(width > 900 for width in page.evaluate(widths))
