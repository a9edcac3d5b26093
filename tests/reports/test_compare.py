"""The page that compares two runs: what it says, what it shows, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from audit.comparison import Comparison, compare_runs
from audit.errors import RunError
from audit.runs.files import read_json, write_json
from audit.runs.folder import Run
from audit.runs.record import seal
from reports import compare, pairs
from reports.compare import build_comparison
from reports.output import link
from reports.run import read_run
from tests.reports.factory import HOSTILE
from tests.reports.runs import GRID, SIZE, sealed_run
from tests.reports.test_build import Page


@pytest.fixture(scope="module")
def page(runs: Path) -> Page:
    return Page(build_comparison(runs / "biased", runs / "cured", runs.parent / "compare.html"))


@pytest.fixture(scope="module")
def compared(runs: Path) -> Comparison:
    return compare_runs(Run(runs / "biased"), Run(runs / "cured"))


def test_the_first_screen_says_in_one_sentence_what_changed(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "The verdict goes from FAIL to PASS, accuracy from" in text
    assert "of 4 findings 2 fixed, none new, none worsened and 2 unchanged." in text
    assert "Beware" not in text  # the same audit, data and limits


def test_accuracies_are_those_of_the_samples(runs: Path, compared: Comparison) -> None:
    for side, name in (("before", "biased"), ("now", "cured")):
        samples = read_run(runs / name).audited
        right = (samples["prediction"] == samples["label"]).mean()
        assert getattr(compared.accuracy[0], side).interval.effect == pytest.approx(right)
    assert compared.accuracy[0].shared == 400


def test_what_differs_is_listed_with_both_values(page: Page, compared: Comparison) -> None:
    assert compared.settings == []
    assert compared.provenance == [("sha256.weights", "aa" * 32, "bb" * 32)]
    assert "sha256.weights" in page.text
    assert "aaaaaaaa" in page.text
    assert "the same 400 samples" in " ".join(page.text.split())


def decoded(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)))


def test_each_map_is_that_of_its_run(page: Page) -> None:
    found = page.data()["pairs"]
    assert [one["sample_id"] for one in found] == [
        "s00000", "s00052", "s00050", "s00053", "s00051", "s00054"
    ]  # fmt: skip
    for one in found:
        for side, corner in (("before", (0, 0)), ("after", (GRID - 1, GRID - 1))):
            alpha = decoded(one[side]["map"])[..., 3]
            assert alpha.shape == (SIZE, SIZE)
            cell = SIZE // GRID
            middles = alpha[cell // 2 :: cell, cell // 2 :: cell]
            assert np.unravel_index(middles.argmax(), middles.shape) == corner


def test_trials_are_those_answered_alike_in_an_order_of_these_runs(
    page: Page, runs: Path, compared: Comparison, tmp_path: Path
) -> None:
    trust, found = page.data()["trust"], page.data()["pairs"]
    alike = {
        i
        for i, one in enumerate(found)
        if one["before"]["prediction"] == one["after"]["prediction"]
    }
    assert {trial["pair"] for trial in trust["trials"]} == alike
    assert trust["seed"] == compared.seed
    shutil.copytree(runs / "biased", tmp_path / "elsewhere")
    moved = compare_runs(Run(tmp_path / "elsewhere"), Run(runs / "cured"))
    turned = compare_runs(Run(runs / "cured"), Run(runs / "biased"))
    assert moved.seed == compared.seed != turned.seed


def test_either_run_is_on_the_left_half_of_the_time() -> None:
    alike: Any = [{"before": {"prediction": "a"}, "after": {"prediction": "a"}}] * 400
    lefts = [trial["left"] == "before" for trial in pairs.trials(alike, 1)]
    assert 0.4 < np.mean(lefts) < 0.6
    orders = [[trial["pair"] for trial in pairs.trials(alike, seed)] for seed in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(400))
    assert orders[0] != orders[1]


def test_pictures_stop_at_the_budget_and_the_cap(
    runs: Path, compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (read_run(runs / "biased"), read_run(runs / "cured"), compared.data.unaltered)
    assert pairs.pairs(*both, budget=0) == []
    assert pairs.pairs(*both[:2], []) == []
    monkeypatch.setattr(pairs, "PAIRS", 2)
    assert len(pairs.pairs(*both)) == 2


def test_other_data_are_told_plainly(runs: Path, tmp_path: Path) -> None:
    other = sealed_run(tmp_path / "other", n=200, shade=7, day=5, pictures=("s00001",))
    data = compare_runs(Run(runs / "biased"), other).data
    assert (data.before, data.now, data.both, len(data.altered)) == (400, 200, 200, 200)
    page = Page(build_comparison(runs / "biased", other.folder, tmp_path / "page.html"))
    text = " ".join(page.text.split())
    assert "The audited data differ: 400 samples before, 200 after, 200 in both by name" in text
    assert "of which 200 with another label or picture" in text
    assert page.data()["pairs"] == []  # one name, two pictures
    assert "There is no picture to show" in text
    assert "trust-test" not in page.ids()


def resealed(run: Path, copy: Path, **changes: Any) -> Run:
    """A copy of a run under a changed configuration."""
    shutil.copytree(run, copy)
    one = Run(copy)
    config = {**yaml.safe_load(one.config_file.read_text()), **changes}
    one.config_file.write_text(yaml.safe_dump(config))
    write_json(one.identity, read_json(one.identity) | {"config_digest": "changed"})
    seal(one)
    return one


def test_runs_of_two_audits_are_compared_with_a_warning(runs: Path, tmp_path: Path) -> None:
    other = resealed(runs / "cured", tmp_path / "other", name="planted-cured")
    page = Page(build_comparison(runs / "biased", other.folder, tmp_path / "page.html"))
    text = " ".join(page.text.split())
    assert "of 4 findings 2 fixed, none new, none worsened and 2 unchanged." in text
    assert "runs of two audits, 'planted' and 'planted-cured'" in text


def test_both_are_judged_by_the_limits_of_the_run_after(runs: Path, tmp_path: Path) -> None:
    lax = resealed(
        runs / "cured", tmp_path / "lax", policy={"fail_effect": 0.7, "pass_effect": 0.8}
    )
    found = compare_runs(Run(runs / "biased"), lax)
    assert found.rejudged
    assert {one.before.status for one in found.claims if one.before} & {"CONFIRMED"} == set()
    assert found.verdicts[0].verdict == "FAIL"  # as it was sealed


def test_other_waivers_are_no_other_limits(runs: Path, tmp_path: Path) -> None:
    policy = {"waivers": str(tmp_path / "waivers.yaml")}
    waived = resealed(runs / "cured", tmp_path / "waived", policy=policy)
    assert not compare_runs(Run(runs / "biased"), waived).rejudged


def test_other_classes_are_refused(runs: Path) -> None:
    with pytest.raises(RunError, match="its classes are not those of the other run"):
        compare_runs(Run(runs / "biased"), Run(runs / "odd"))


@pytest.mark.parametrize("name", ["record.json", "interventions.parquet"])
def test_an_unfinished_or_incomplete_run_is_refused(runs: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(runs / "cured", tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    for pair in ((runs / "biased", tmp_path / "copy"), (tmp_path / "copy", runs / "biased")):
        with pytest.raises(RunError, match=name):
            build_comparison(*pair, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_run_is_neither_compared_with_itself_nor_written_into(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "cured", tmp_path / "copy")
    with pytest.raises(RunError, match="is the run itself, or a copy"):
        build_comparison(runs / "cured", tmp_path / "copy", tmp_path / "page.html")
    both = runs / "biased", runs / "cured"
    with pytest.raises(RunError, match="which stays as it is"):
        build_comparison(*both, runs / "cured" / "pictures" / "page.html")
    with pytest.raises(RunError, match="is a folder"):
        build_comparison(*both, tmp_path)


def test_a_failure_leaves_the_old_page(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        build_comparison(runs / "biased", runs / "cured", page)
    assert page.read_text() == "old"
    assert list(tmp_path.iterdir()) == [page]


def test_it_links_to_the_reports_that_are_there(runs: Path, tmp_path: Path) -> None:
    report = tmp_path / 'a "b" #1' / "report.html"
    report.parent.mkdir()
    assert link(report, tmp_path) is None
    report.write_text("")
    assert link(report, tmp_path) == "a%20%22b%22%20%231/report.html"
    assert link(report, tmp_path / "x") == "../a%20%22b%22%20%231/report.html"


def test_hostile_names_stay_text(runs: Path) -> None:
    path = build_comparison(runs / "odd", runs / "even", runs.parent / "hostile.html")
    page = Page(path)
    assert HOSTILE[0] in page.text
    assert not [tag for tag, attributes in page.elements if attributes.get("src") == "x"]
    json.loads(json.dumps(page.data()))


def test_the_sentence_counts_every_kind(compared: Comparison) -> None:
    told = compare.sentence(compared)
    counted = sum(int(word) for word in told.split("findings")[1].split() if word.isdigit())
    assert counted == len(compared.claims) == 4
