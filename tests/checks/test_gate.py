"""Which models pass the gate: trained ones, and none whose maps do not follow the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audit.checks import gate, informing
from audit.checks.randomisation import ALL_WEIGHTS, Stage, cascade, stages_of
from audit.checks.ranks import rank_correlation
from audit.checks.rows import Row
from audit.checks.subject import Subject
from audit.evidence.intervals import Interval, wilson
from audit.evidence.signflip import generator
from tests.checks.scenes import (
    Wired,
    brightness,
    configuration,
    plain,
    red_or_blue,
    subject_with,
    trained,
)
from tests.oracles import checks as oracle


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A trained net that is always right."""
    found = subject_with(trained(configuration().model.input), "features")
    assert (found.logits.argmax(1) == found.classes).all()
    return found


@pytest.fixture(scope="module")
def rows(subject: Subject) -> list[Row]:
    return gate.randomisation(subject)


def end_of(rows: list[Row]) -> Row:
    (end,) = (row for row in rows if row.gates and row.statistic == "rank correlation")
    return end


def alignment_of(rows: list[Row]) -> Row:
    (alignment,) = (row for row in rows if row.statistic == "alignment")
    return alignment


def test_a_trained_net_passes(rows: list[Row]) -> None:
    end = end_of(rows)
    assert end.passed
    assert end.interval.effect < end.interval.upper_limit < 0.3
    assert alignment_of(rows).passed


def test_the_first_stage_keeps_most_of_the_map(rows: list[Row]) -> None:
    stages = [row for row in rows if row.statistic == "rank correlation"]
    assert stages[0].stage == "down to head"
    assert stages[0].interval.effect > 2 * stages[-1].interval.effect
    assert [row.gates for row in stages] == [False] * (len(stages) - 1) + [True]


def test_the_gate_is_the_mean_of_the_correlations_of_each_picture(
    subject: Subject, rows: list[Row]
) -> None:
    module, asked, config = subject.classifier.module, subject.classes[:, None], subject.config
    one = subject.pictures[:1]
    stages = stages_of(module, lambda m: subject.explain(m, one, asked[:1]), config.checks.stages)
    means = []
    for draw in range(config.checks.draws):
        seed = int(generator(config.seed, "randomisation", str(draw)).integers(2**62))
        *_, (_, altered) = cascade(module, stages, seed)
        after = subject.explain(altered, subject.pictures, asked)[:, 0].numpy()
        pairs = zip(subject.maps.numpy(), after, strict=True)
        means.append(np.mean([abs(oracle.spearman(a, b)) for a, b in pairs]))
    interval = end_of(rows).interval
    assert interval.effect == pytest.approx(np.mean(means))
    # Ten random models tell less than 64 pictures: the interval is at least that of the draws.
    half = 2.262157 * np.std(means, ddof=1) / np.sqrt(10)
    assert interval.high >= np.mean(means) + half - 1e-6
    assert interval.low <= np.mean(means) - half + 1e-6


def test_a_map_that_does_not_depend_on_the_weights_fails() -> None:
    rows = gate.randomisation(subject_with(Wired(brightness), "grid"))
    end = end_of(rows)
    assert end.interval.effect == pytest.approx(1)
    assert end.passed is False


def random_maps_of(subject: Subject) -> torch.Tensor:
    module, asked = subject.classifier.module, subject.classes[:, None]
    one = subject.pictures[:1]
    stages = stages_of(module, lambda m: subject.explain(m, one, asked[:1]), 2)
    *_, (_, altered) = cascade(module, stages, 0)
    return subject.explain(altered, subject.pictures, asked)[:, 0]


def test_a_random_deep_net_without_normalisation_still_sees_its_picture() -> None:
    maps = random_maps_of(subject_with(plain(15), "0", 32))
    assert np.mean(rank_correlation(maps, maps.roll(1, 0))) < 0.6


def test_random_models_that_are_blind_test_nothing(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same_for_all(
        subject: Subject, module: nn.Module, pictures: Tensor, asked: Tensor
    ) -> Tensor:
        one = torch.randn(subject.grid, generator=torch.Generator().manual_seed(0))
        return one.expand(len(pictures), 1, -1, -1)

    monkeypatch.setattr(Subject, "explain", same_for_all)
    end = end_of(gate.randomisation(subject))
    assert end.interval.upper_limit < end.threshold
    assert end.passed is None
    assert end.meaning.startswith("Undecided: ")


@pytest.mark.parametrize("clusters", [np.zeros(64, int), np.arange(64) // 4])
def test_few_clusters_are_undecided(subject: Subject, clusters: np.ndarray) -> None:
    end = end_of(gate.randomisation(replace(subject, clusters=clusters)))
    assert end.clusters == len(np.unique(clusters)) < subject.config.policy.min_clusters
    assert end.passed is None


def test_a_dead_draw_leaves_the_gate_undecided(subject: Subject) -> None:
    stage = Stage(ALL_WEIGHTS, ())
    drawn = np.random.default_rng(0).random((5, len(subject.ids))) / 10
    assert gate._agreement_row(subject, stage, drawn).passed
    drawn[1:] = np.nan
    row = gate._agreement_row(subject, stage, drawn)
    assert row.passed is None and np.isnan(row.interval.upper_limit)
    drawn[:4] = 0.05
    assert gate._agreement_row(subject, stage, drawn).passed is None


def test_maps_of_random_models_that_find_a_region_fail() -> None:
    alignment = alignment_of(gate.randomisation(subject_with(Wired(red_or_blue), "grid")))
    assert alignment.passed is False
    assert alignment.interval.effect > 0.5
    assert alignment.p < 0.05


def test_many_classes_of_few_pictures_are_no_excuse() -> None:
    wired = subject_with(Wired(red_or_blue), "grid")
    apart = replace(wired, classes=torch.arange(len(wired.ids)))
    mass = [wired.maps + i / 1000 for i in range(5)]
    (row,) = gate._alignment_rows(apart, mass)
    assert row.interval.lower_limit > row.threshold and row.passed is False


def test_a_region_shown_by_one_cluster_is_undecided(subject: Subject) -> None:
    one = replace(subject, clusters=np.zeros(len(subject.ids), int))
    (row,) = gate._alignment_rows(one, [subject.maps] * 5)
    assert row.gates and row.passed is None and row.n == 0


@pytest.mark.parametrize(
    ("effect", "upper_limit", "p", "expected"),
    [(0.01, 0.02, 0.001, True), (0.01, 0.05, 0.2, True), (0.04, 0.09, 0.2, None),
     (0.04, 0.09, 0.01, False), (0.02, 0.09, 0.01, False), (0.04, np.nan, 0.2, None)],
)  # fmt: skip
def test_alignment_that_is_large_and_uncertain_is_undecided(
    effect: float, upper_limit: float, p: float, expected: bool | None
) -> None:
    interval = Interval(effect, effect, effect, effect, upper_limit)
    row = Row(check="", statistic="", meaning="", interval=interval, threshold=0.03)
    assert gate._aligned_passes(row, p, 0.05) is expected


def test_maps_that_are_the_same_everywhere_are_undecided() -> None:
    flat = Wired(lambda images: 0 * brightness(images) + 1)
    end = end_of(gate.randomisation(subject_with(flat, "grid")))
    assert end.n == 0 and end.passed is None
    assert "same everywhere" in end.meaning


def test_a_model_without_weights_is_undecided(subject: Subject) -> None:
    class Bare(Wired):
        def __init__(self) -> None:
            super().__init__(brightness)
            del self.head

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            score = self.grid(images).mean((2, 3))
            return torch.cat([score, -score], 1)

    with pytest.raises(gate.ModelError, match="no weights"):
        gate.randomisation(subject_with(Bare().eval(), "grid"))


def test_samples_of_one_cluster_are_one_observation(subject: Subject, rows: list[Row]) -> None:
    paired = replace(subject, clusters=np.arange(len(subject.ids)) // 2)
    few = end_of(gate.randomisation(paired))
    assert few.clusters == len(subject.ids) // 2 and few.n == len(subject.ids)
    assert few.interval.effect == pytest.approx(end_of(rows).interval.effect)


def test_a_map_that_is_right_beats_chance_and_its_negative_does_not(subject: Subject) -> None:
    wrong = replace(subject, maps=-subject.maps)
    for check in (informing.curves, informing.occlusion_agreement):
        for right, turned in zip(check(subject), check(wrong), strict=True):
            assert right.interval.low > 0 > turned.interval.effect, right.statistic
    hit, rejecting = informing.pointing(subject)
    assert hit.interval.low > hit.threshold
    assert rejecting.interval.low > rejecting.threshold


def test_a_map_that_is_core_localises_it(subject: Subject) -> None:
    exact = replace(subject, maps=subject.core_on_grid)
    error, overlap = informing.localisation_of_core(exact)
    assert error.interval.high < error.threshold == 1
    assert overlap.interval.low > 0.3 > overlap.threshold
    assert f"would have {error.interval.effect:.2f}." in error.meaning
    assert f"would have {overlap.interval.effect:.2f}." in overlap.meaning


def test_a_picture_that_was_wrong_before_has_no_answer_to_lose(subject: Subject) -> None:
    checks = subject.config.checks.model_copy(update={"epsilon": 32 / 255})
    config = subject.config.model_copy(update={"checks": checks})
    wrong = replace(subject, config=config, classes=1 - subject.classes)
    changed, alike, moved = informing.robustness(wrong)
    assert changed.interval.effect > 0
    assert alike.n == moved.n == 0


def test_events_and_yardsticks_count_every_cluster_the_same(subject: Subject) -> None:
    """One cluster of all samples with the event, and as many as there are of the others."""
    hit = np.arange(64) < 32
    clusters = np.where(hit, 64, np.arange(64))
    row = informing._row(
        replace(subject, clusters=clusters), hit.astype(float), np.ones(64, bool), "a", "b", "c",
        event=True,
    )  # fmt: skip
    assert row.interval.effect == pytest.approx(1 / 33)
    low, high = wilson(1 / 33, 33, 0.05)
    assert (row.interval.low, row.interval.high) == pytest.approx((low, high))
    told = informing._mean(
        replace(subject, clusters=clusters), hit.astype(float), np.ones(64, bool)
    )
    assert told == pytest.approx(1 / 33)


def test_few_samples_are_evenly_spaced_and_keep_what_is_theirs(subject: Subject) -> None:
    few = subject.few(4)
    at = [0, 21, 42, 63]
    assert few.ids == [subject.ids[i] for i in at]
    assert few.clusters.tolist() == subject.clusters[at].tolist()
    for name in ("pictures", "classes", "core", "regions", "logits", "maps"):
        assert torch.equal(getattr(few, name), getattr(subject, name)[at])
    assert torch.equal(few.core_on_grid, subject.core_on_grid[at])
    assert subject.few(64) is subject


def test_only_the_end_of_the_cascade_sees_all(subject: Subject, rows: list[Row]) -> None:
    stages = [row for row in rows if row.statistic == "rank correlation"]
    assert [row.n for row in stages] == [24] * (len(stages) - 1) + [64]


def test_where_the_answer_was_turned_the_maps_are_compared(subject: Subject) -> None:
    checks = subject.config.checks.model_copy(update={"epsilon": 32 / 255})
    config = subject.config.model_copy(update={"checks": checks})
    changed, alike, moved = informing.robustness(replace(subject, config=config))
    assert changed.n == len(subject.ids)
    assert alike.n == round(changed.interval.effect * changed.n) > 0
    assert -1 <= alike.interval.effect < 1
    assert -1 <= moved.interval.effect <= 1
