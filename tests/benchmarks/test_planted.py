"""The planted-bias study plants what it says, measures what is there, and resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from audit.models.classifier import Classifier
from audit.tables import INTERVENTIONS, to_arrow
from tests.benchmarks.planted import study
from tests.benchmarks.planted.audit import annotated, arms_exchanged, context_of, judged, measured
from tests.benchmarks.planted.baselines import alignment
from tests.benchmarks.planted.scenes import (
    CLASSES,
    CORE,
    CUES,
    LOCALISED,
    SPREAD,
    draw,
    stream,
)
from tests.benchmarks.planted.study import PLANTED, Job, Settings, jobs
from tests.benchmarks.planted.tables import auc, markdown, read
from tests.benchmarks.planted.train import INPUT, spurious_score

TINY = Settings(
    seeds=1,
    training=128,
    epochs=1,
    truth=80,
    audited=80,
    null_audits=2,
    population=80,
    covered_audits=1,
    simulations=2,
)


class ReadsTag(nn.Module):
    """Says cross where there is more green than else: where the small tag is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, _TAG_SIDE := 8, 1)
        nn.init.constant_(self.features.weight, -0.5 / _TAG_SIDE**2)
        nn.init.constant_(self.features.weight[:, 1:2], 1 / _TAG_SIDE**2)
        nn.init.zeros_(self.features.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        green = torch.relu(self.features(images)).amax((2, 3))
        return torch.cat([torch.ones_like(green), green], 1)


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_is_where_it_is_said_to_be_and_nowhere_else(cue: str) -> None:
    scenes = draw(cue, 200, stream(0, cue))
    changed = (scenes.plain != scenes.marked).any(1)
    assert not (changed & scenes.region & scenes.core).any()
    assert changed.flatten(1).any(1).all()
    if cue in LOCALISED:
        assert not (changed & ~scenes.region).any()
        assert (changed & scenes.region).sum() > 0.95 * scenes.region.sum()
    else:
        assert torch.equal(scenes.region, ~scenes.core)
    assert (scenes.core.sum((1, 2)) == CORE**2).all()


@pytest.mark.parametrize("association", [0.5, 0.85, 1.0])
def test_the_cue_goes_with_the_label_as_often_as_asked(association: float) -> None:
    scenes = draw("corner-tag", 4000, stream(0, "p"), association)
    for label, wanted in ((1, association), (0, 1 - association)):
        present = scenes.present[scenes.label == label]
        p = stats.binomtest(int(present.sum()), len(present), wanted).pvalue
        assert p > 1e-4


def test_an_audit_is_balanced() -> None:
    scenes = draw("tint", 400, stream(0, "balanced"))
    cells = 2 * scenes.label + scenes.present
    assert torch.equal(torch.bincount(cells), torch.tensor([100, 100, 100, 100]))


def test_pictures_are_the_same_each_time_and_others_for_another_purpose() -> None:
    first, again, other = (draw("hair", 20, stream(3, name)) for name in ("a", "a", "b"))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_the_truth_and_the_verdict_of_a_model_that_reads_the_tag_alone() -> None:
    scenes = draw("small-tag", 240, stream(0, "reads"))
    module = ReadsTag().eval().requires_grad_(False)
    threshold_free = Classifier(module, list(CLASSES), [0, 1], INPUT, torch.device("cpu"))
    with torch.no_grad():
        green = module(threshold_free.prepare(scenes.images))[:, 1]
    module.features.bias.fill_(1.0 - float(green[scenes.present].quantile(0.02)))
    spurious = spurious_score(threshold_free, scenes)
    assert spurious > 0.5
    context = context_of("small-tag", threshold_free, scenes, "s")
    assert context.tests == {"cue": "removal"}
    result = judged(measured(context), context.config, attention=False)
    assert result.verdict == "FAIL"
    assert {f.target_class: f.status for f in result.findings}["cross"] == "CONFIRMED"


@pytest.mark.parametrize("cue", ["tint", "hair"])
def test_what_is_annotated(cue: str) -> None:
    scenes = draw(cue, 8, stream(0, "annotated"))
    assert annotated(cue, scenes).flatten(1).any(1).all()
    tagged = draw("small-tag", 8, stream(0, "annotated"))
    there = annotated("small-tag", tagged).flatten(1).any(1)
    assert torch.equal(there, tagged.present)
    assert cue in (*SPREAD, "hair")


def test_exchanged_arms_keep_pairs_whole() -> None:
    scenes = draw("small-tag", 80, stream(0, "exchange"))
    module = ReadsTag().eval().requires_grad_(False)
    classifier = Classifier(module, list(CLASSES), [0, 1], INPUT, torch.device("cpu"))
    tables = measured(context_of("small-tag", classifier, scenes, "s"))
    before = tables["interventions"]
    after = arms_exchanged(tables, stream(0, "coin"))["interventions"]
    to_arrow(after, INTERVENTIONS)
    turned = (before["arm"].astype(str) != after["arm"].astype(str)).to_numpy()
    by_sample = [set(turned[before["sample_id"] == name]) for name in before["sample_id"].unique()]
    assert all(len(values) == 1 for values in by_sample)
    assert {True} in by_sample
    assert {False} in by_sample


def test_auc_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 15).round(1), rng.normal(0, 1, 12).round(1)
    pairs = [(a > b) + 0.5 * (a == b) for a in positive for b in negative]
    area, (low, high) = auc(positive, negative)
    assert area == pytest.approx(np.mean(pairs))
    assert low < area < high
    flipped, (low_again, high_again) = auc(negative, positive)
    assert (flipped, low_again) == pytest.approx((1 - area, 1 - high), abs=1e-6)
    assert high_again == pytest.approx(1 - low, abs=1e-6)
    perfect, (low, high) = auc(np.arange(5.0) + 9, np.arange(5.0))
    assert perfect == high == 1
    wide = low
    assert auc(np.arange(50.0) + 99, np.arange(50.0))[1][0] > wide > 0.5


def test_alignment_of_maps_that_follow_the_masks_and_of_masks_that_stand_still() -> None:
    rng = np.random.default_rng(0)
    masks = torch.zeros(40, 6, 6, dtype=torch.bool)
    for mask in masks:
        mask[rng.integers(6), rng.integers(6)] = True
    cells = np.array(["a", "b"] * 20)
    noise = torch.from_numpy(rng.random((40, 6, 6))).float()
    assert alignment(noise + 5 * masks, masks, cells, rng) > 3
    assert abs(alignment(noise, masks, cells, rng)) < 3
    still = masks[:1].expand(40, 6, 6)
    assert alignment(noise + 5 * still, still, cells, rng) == 0


def test_the_study_has_the_models_that_the_protocol_asks_for() -> None:
    found = jobs(Settings())
    assert len({job.name for job in found}) == len(found)
    planted = [job for job in found if job.kind == PLANTED]
    assert len(planted) == len(CUES) * 5 * 3 * 2
    nulls = [job for job in found if job.kind != study.POWER and job.null]
    assert len(nulls) >= 12
    assert len(nulls) * Settings().null_audits >= 200


def test_a_study_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = [Job(PLANTED, cue, 0.5, "small-cnn", 1) for cue in ("small-tag", "tint")]
    done: list[str] = []
    whole = study.model_record

    def counted(settings: Settings, job: Job) -> dict[str, object]:
        done.append(job.name)
        if len(done) == 2:
            raise RuntimeError("interrupted")
        return whole(settings, job)

    monkeypatch.setattr(study, "model_record", counted)
    errors = [study.do(tmp_path, TINY, job) for job in todo]
    assert errors[0] is None
    assert "interrupted" in str(errors[1])
    assert [study.is_done(tmp_path, TINY, job) for job in todo] == [True, False]
    assert not study.is_done(tmp_path, replace(TINY, epochs=2), todo[0])

    first = json.loads((tmp_path / f"{todo[0].name}.json").read_text())
    (tmp_path / f"{todo[0].name}.json").unlink()
    assert [study.do(tmp_path, TINY, job) for job in todo] == [None, None]
    again = json.loads((tmp_path / f"{todo[0].name}.json").read_text())
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert "small-tag" in markdown(read(tmp_path))


def test_pictures_without_the_cue_do_not_count_as_untested() -> None:
    scenes = draw("small-tag", 80, stream(0, "untested"))
    module = ReadsTag().eval().requires_grad_(False)
    classifier = Classifier(module, list(CLASSES), [0, 1], INPUT, torch.device("cpu"))
    context = context_of("small-tag", classifier, scenes, "s")
    result = judged(measured(context), context.config, attention=False)
    assert sum(act.n for f in result.findings for act in f.acts[:1]) == int(scenes.present.sum())
    assert all(act.excluded == 0 for f in result.findings for act in f.acts)
