"""Who is harmed: aligned against conflicting, the worst group, calibration, the right answer."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from audit.evidence.calibration import bins_for, calibration_error, squared_error
from audit.evidence.conflict import over_represented, weighted_difference
from audit.evidence.true_class import mean
from audit.evidence.worst_group import exact_rate, lowest, simultaneous
from audit.tables import ALL
from tests.evidence import planted
from tests.evidence.planted import built, row, some_examples

NO_TRIALS = planted.removal(planted.samples(2), "face", flips=0.0).iloc[:0]


def with_training(
    audited: pd.DataFrame, counts: dict[tuple[str, str], int], *, cluster_size: int = 1
) -> pd.DataFrame:
    """The audited samples, after training samples of (class, gender) in these numbers."""
    cells = [cell for cell, n in counts.items() for _ in range(n)]
    training = pd.DataFrame(
        {
            "sample_id": [f"t{i}" for i in range(len(cells))],
            "path": "p.png",
            "part": "train",
            "label": [label for label, _ in cells],
            "cluster_id": [f"tc{i // cluster_size}" for i in range(len(cells))],
            "status": "ok",
            "reason": "",
            "attribute:gender": [gender for _, gender in cells],
        }
    )
    plain = audited.astype(dict.fromkeys(audited.select_dtypes("category").columns, object))
    return pd.concat([training, plain], ignore_index=True)


CONFOUNDED = {("doctor", "man"): 80, ("doctor", "woman"): 20}
CONFOUNDED |= {("nurse", "man"): 10, ("nurse", "woman"): 90}


def people(n: int, *, cluster_size: int = 1, seed: int = 0) -> pd.DataFrame:
    """Audited people: nurses right mostly if women, doctors if men; more of the aligned."""
    frame = planted.samples(n, cluster_size=cluster_size, seed=seed)
    rng = np.random.default_rng([seed, 5])
    label = frame["label"].to_numpy(object)
    expected = np.where(label == "doctor", "man", "woman")
    other = np.where(label == "doctor", "woman", "man")
    aligned = rng.random(n) < np.where(label == "doctor", 0.8, 0.5)
    right = rng.random(n) < np.where(aligned, 0.95, np.where(label == "doctor", 0.5, 0.7))
    wrong = np.where(label == "doctor", "nurse", "doctor")
    return frame.assign(
        **{
            "attribute:gender": np.where(aligned, expected, other),
            "prediction": np.where(right, label, wrong),
        }
    )


# ---- aligned against conflicting


@pytest.mark.parametrize("cluster_size", [1, 3])
def test_the_gap_is_what_a_loop_over_clusters_finds(cluster_size: int) -> None:
    audited = people(120, cluster_size=cluster_size)
    found = built(with_training(audited, CONFOUNDED), NO_TRIALS)
    leading = {"doctor": "man", "nurse": "woman"}

    def mean_over_clusters(label: str, aligned: bool) -> float:
        by_cluster: dict[str, list[float]] = defaultdict(list)
        for sample in audited.to_dict("records"):
            agrees = sample["attribute:gender"] == leading[label]
            if sample["label"] == label and agrees == aligned:
                by_cluster[sample["cluster_id"]].append(sample["prediction"] == label)
        means = [sum(values) / len(values) for values in by_cluster.values()]
        return sum(means) / len(means)

    gaps = {
        label: mean_over_clusters(label, True) - mean_over_clusters(label, False)
        for label in leading
    }
    for label, gap in gaps.items():
        one = row(found, measure="aligned_gap", target_class=label, attribute="gender")
        assert one["effect"] == pytest.approx(gap)
        assert not one["required"]
    overall = row(found, measure="aligned_gap", target_class=ALL, attribute="gender")
    assert overall["effect"] == pytest.approx(sum(gaps.values()) / 2)
    assert overall["n"] == 120


def test_no_gap_without_training_pictures_or_without_an_association() -> None:
    audited = people(60)
    independent = dict.fromkeys(CONFOUNDED, 50)
    nearly = independent | {("doctor", "man"): 55}  # as by chance
    for samples in (audited, with_training(audited, independent), with_training(audited, nearly)):
        assert "aligned_gap" not in set(built(samples, NO_TRIALS)["measure"])


def test_no_gap_for_a_class_that_has_one_kind_only() -> None:
    audited = people(120)
    audited = audited[~((audited["label"] == "nurse") & (audited["attribute:gender"] == "man"))]
    found = built(with_training(audited, CONFOUNDED), NO_TRIALS)
    gaps = found[found["measure"] == "aligned_gap"]
    assert set(gaps["target_class"]) == {ALL, "doctor"}
    assert gaps["effect"].nunique() == 1


def test_an_unknown_value_is_neither_and_is_counted() -> None:
    audited = people(120)
    audited.loc[audited.index[:10], "attribute:gender"] = "unknown"
    found = built(with_training(audited, CONFOUNDED), NO_TRIALS)
    overall = row(found, measure="aligned_gap", target_class=ALL, attribute="gender")
    assert (overall["n"], overall["excluded"]) == (110, 10)


def test_a_large_cluster_is_no_association() -> None:
    label = np.array(["a"] * 60 + ["b"] * 60, object)
    value = np.array(["x"] * 44 + ["y"] * 16 + ["x", "y"] * 30, object)
    each = np.arange(120)
    assert over_represented(label, value, each) == {"a": {"x"}, "b": {"y"}}
    one_patient = np.where(each < 24, 0, each)  # most of what is too many are of one
    assert over_represented(label, value, one_patient) == {}


def test_residuals_are_haberman_s() -> None:
    rng = np.random.default_rng(3)
    label, value = rng.integers(0, 3, 300), rng.integers(0, 4, 300)
    value = np.where(rng.random(300) < 0.3, label, value)
    n = 300
    expected: dict[str, set[str]] = defaultdict(set)
    for a in range(3):
        for b in range(4):
            na, nb = (label == a).sum(), (value == b).sum()
            seen = ((label == a) & (value == b)).sum()
            error = math.sqrt(na * nb / n * (1 - na / n) * (1 - nb / n))
            if (seen - na * nb / n) / error > 2:
                expected[str(a)].add(str(b))
    found = over_represented(label.astype(str).astype(object), value.astype(str).astype(object),
                             np.arange(n))  # fmt: skip
    assert found == expected


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
@some_examples
def test_independent_samples_give_newcombe_s_interval(
    n1: int, n2: int, part1: float, part2: float
) -> None:
    x1, x2 = round(part1 * n1), round(part2 * n2)
    if n1 == 1 or n2 == 1 or x1 in (0, n1) or x2 in (0, n2):
        return  # Wilson at zero variance is tested with the rates
    hits = np.repeat([1.0, 0.0, 1.0, 0.0], [x1, n1 - x1, x2, n2 - x2])
    every = np.arange(n1 + n2)
    found = weighted_difference(hits, every < n1, np.zeros(n1 + n2, int), 1, every, 0.95)
    expected = confint_proportions_2indep(x1, n1, x2, n2, method="newcomb", compare="diff")
    assert_allclose((found.low, found.high), expected, atol=1e-9)


groups = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 9)), min_size=2)


@given(groups)
@some_examples
def test_exchanging_the_groups_turns_the_interval_round(
    drawn: list[tuple[bool, bool, int]],
) -> None:
    hits, first, clusters = (np.array(column) for column in zip(*drawn, strict=True))
    if first.all() or not first.any():
        return
    strata = np.zeros(len(hits), int)
    one = weighted_difference(hits.astype(float), first, strata, 1, clusters, 0.95)
    other = weighted_difference(hits.astype(float), ~first, strata, 1, clusters, 0.95)
    assert_allclose((one.effect, one.low, one.high), (-other.effect, -other.high, -other.low))
    assert -1 - 1e-9 <= one.low <= one.effect <= one.high <= 1 + 1e-9


@pytest.mark.parametrize("paired", [False, True])
def test_the_gap_s_interval_covers(paired: bool) -> None:
    """40 clusters with pictures of both kinds that share their difficulty; and 60 against 20."""
    rng = np.random.default_rng(1)
    covered, runs = 0, 400
    p1, p2 = 0.95, 0.6
    for _ in range(runs):
        if paired:
            shared = rng.normal(size=(40, 1))
            difficulty = (shared + rng.normal(size=(40, 4))) / math.sqrt(2)
            hits = (difficulty < stats.norm.ppf([p1, p1, p1, p2])).astype(float).ravel()
            clusters, first = np.arange(160) // 4, np.arange(160) % 4 < 3
        else:
            hits = (rng.random(80) < np.repeat([p1, p2], [60, 20])).astype(float)
            clusters, first = np.arange(80), np.arange(80) < 60
        found = weighted_difference(hits, first, np.zeros(len(hits), int), 1, clusters, 0.95)
        covered += found.low <= p1 - p2 <= found.high
    assert stats.binomtest(covered, runs, 0.95).pvalue > 0.001 or covered / runs > 0.95


def test_more_samples_narrow_the_gap() -> None:
    widths = []
    for times in (10, 40, 160):
        hits = np.tile([1.0, 1.0, 1.0, 0.0, 1.0, 0.0], times)
        first = np.tile([True, True, True, True, False, False], times)
        every = np.arange(len(hits))
        found = weighted_difference(hits, first, np.zeros_like(every), 1, every, 0.95)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


HARM = ("worst_group", "aligned_gap", "brier", "calibration_gap", "ece", "true_margin_effect")


def _harm(samples: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    found = built(samples, trials)
    return found[found["measure"].isin(HARM)].reset_index(drop=True)


def test_the_order_of_rows_changes_nothing() -> None:
    samples = with_training(people(120, cluster_size=2), CONFOUNDED, cluster_size=2)
    trials = planted.removal(people(120, cluster_size=2), "hair", flips=0.2)
    shuffled = _harm(
        samples.sample(frac=1, random_state=0, ignore_index=True),
        trials.sample(frac=1, random_state=1, ignore_index=True),
    )
    pd.testing.assert_frame_equal(_harm(samples, trials), shuffled, check_exact=True)


def test_other_names_for_the_classes_change_no_number() -> None:
    samples = with_training(people(120), CONFOUNDED)
    names = {"doctor": "zebra", "nurse": "ant"}  # and another order
    renamed = samples.assign(
        label=samples["label"].map(names), prediction=samples["prediction"].map(names)
    )
    plain, other = _harm(samples, NO_TRIALS), _harm(renamed, NO_TRIALS)
    keys = ["measure", "target_class", "attribute", "subgroup"]
    plain = plain.assign(target_class=plain["target_class"].replace(names))
    pd.testing.assert_frame_equal(
        plain.sort_values(keys, ignore_index=True), other.sort_values(keys, ignore_index=True)
    )


# ---- the worst group


def test_the_worst_group_is_the_cell_with_the_lowest_accuracy() -> None:
    audited = people(400)
    found = row(
        built(audited, NO_TRIALS), measure="worst_group", attribute="gender", subgroup="woman"
    )
    cells = {
        key: (cell["label"] == cell["prediction"].astype(object))
        for key, cell in audited.astype({"label": object}).groupby(["label", "attribute:gender"])
    }
    assert min(cells, key=lambda key: cells[key].mean()) == ("doctor", "woman")
    assert found["target_class"] == "doctor"
    assert found["effect"] == pytest.approx(cells["doctor", "woman"].mean())
    alpha = 2 * (1 - 0.95**0.25)  # one-sided, four cells
    limits = [
        proportion_confint(right.sum(), len(right), alpha=alpha, method="beta")
        for right in cells.values()
    ]
    assert found["lower_limit"] == pytest.approx(min(low for low, _ in limits))
    assert found["upper_limit"] == pytest.approx(min(high for _, high in limits))
    assert found["excluded"] == 0


def test_a_cell_too_small_is_no_worst_group_and_is_counted() -> None:
    audited = people(500)
    few = audited.index[(audited["label"] == "doctor")][:5]
    audited.loc[few, "attribute:gender"] = "other"
    audited.loc[few, "prediction"] = "nurse"
    found = built(audited, NO_TRIALS)
    worst = found[found["measure"] == "worst_group"]
    assert len(worst) == 1
    assert worst["subgroup"].iloc[0] != "other"
    assert worst["excluded"].iloc[0] == 5
    assert "worst_group" not in set(built(audited.iloc[:20], NO_TRIALS)["measure"])


@pytest.mark.parametrize("rates", [[0.95] * 8, [0.7] + [0.95] * 7])
def test_the_limits_of_the_worst_group_cover(rates: list[float]) -> None:
    rng = np.random.default_rng(2)
    runs, size = 2000, 40
    level, each = simultaneous(0.95, len(rates)), np.arange(size)
    by_count = [exact_rate((each < hits).astype(float), each, level) for hits in range(size + 1)]
    below = above = 0
    for counts in rng.binomial(size, rates, (runs, len(rates))):
        found = lowest([by_count[hits] for hits in counts])
        below += found.lower_limit > min(rates)
        above += found.upper_limit < min(rates)
    for missed in (below, above):
        assert stats.binomtest(missed, runs, 0.05, alternative="greater").pvalue > 0.001


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.sampled_from([0.95, 0.999]))
@some_examples
def test_the_exact_rate_is_ordered_and_symmetric(hits: list[bool], confidence: float) -> None:
    values, each = np.array(hits, float), np.arange(len(hits))
    found = exact_rate(values, each, confidence)
    ordered = [found.low, found.lower_limit, found.effect, found.upper_limit, found.high]
    assert (np.diff(ordered) >= -1e-9).all()
    mirrored = exact_rate(1 - values, each, confidence)
    assert_allclose((mirrored.low, mirrored.high), (1 - found.high, 1 - found.low), atol=1e-9)


def test_more_samples_narrow_the_exact_rate() -> None:
    widths = []
    for n in (20, 80, 320):
        found = exact_rate(np.tile([1.0, 1.0, 1.0, 0.0], n // 4), np.arange(n), 0.95)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


# ---- calibration


def error_by_definition(confidence: Any, right: Any, clusters: Any, bins: int) -> float:
    """Sum over bins of mass x (squared mean gap - variance of that mean), cluster by cluster."""
    sizes = {c: list(clusters).count(c) for c in clusters}
    edges = [np.quantile(confidence, k / bins) for k in range(1, bins)]
    by_bin: dict[int, list[int]] = defaultdict(list)
    for i, value in enumerate(confidence):
        by_bin[sum(edge < value for edge in edges)].append(i)
    total = 0.0
    for members in by_bin.values():
        weight = {i: 1 / (len(sizes) * sizes[clusters[i]]) for i in members}
        mass = sum(weight.values())
        mean = sum(weight[i] / mass * (confidence[i] - right[i]) for i in members)
        sums: dict[Any, float] = defaultdict(float)
        for i in members:
            sums[clusters[i]] += weight[i] / mass * (confidence[i] - right[i] - mean)
        c = len(sums)
        variance = c / (c - 1) * sum(value**2 for value in sums.values())
        total += mass * (mean**2 - variance)
    return total


@pytest.mark.parametrize("bins", [1, 3])
def test_the_calibration_error_is_that_of_its_definition(bins: int) -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 60).round(2)  # with ties
    right = (rng.random(60) < confidence - 0.1).astype(float)
    clusters = rng.permutation(np.repeat(np.arange(24), [1, 4] * 12))
    expected = error_by_definition(confidence, right, clusters, bins)
    assert squared_error(confidence, right, clusters, bins) == pytest.approx(expected)
    assert calibration_error(confidence, right, clusters, bins) == pytest.approx(
        math.sqrt(max(expected, 0))
    )


@pytest.mark.parametrize(("off", "truth"), [(0.0, 0.0), (0.2, 0.04)])
def test_the_squared_error_is_unbiased_in_a_small_cell(off: float, truth: float) -> None:
    rng = np.random.default_rng(4)
    each = np.arange(40)
    found = []
    for _ in range(600):
        confidence = rng.uniform(0.7, 1, 40)
        right = (rng.random(40) < confidence - off).astype(float)
        found.append(squared_error(confidence, right, each, 2))
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - truth) < 4 * error
    assert error < 0.002  # the plain estimate's bias is 2 * 0.14 / 40 = 0.007


def test_calibration_rows_are_means_over_clusters() -> None:
    audited = people(90, cluster_size=3)
    audited["score"] = np.random.default_rng(6).uniform(0.5, 1, 90)
    found = built(audited, NO_TRIALS)
    women = audited[audited["attribute:gender"] == "woman"]
    right = (women["prediction"].astype(object) == women["label"].astype(object)).astype(float)
    gap = women["score"] - right
    for measure, values in (("calibration_gap", gap), ("brier", gap**2)):
        one = row(found, measure=measure, attribute="gender", subgroup="woman")
        assert one["effect"] == pytest.approx(values.groupby(women["cluster_id"]).mean().mean())
        assert one["low"] < one["effect"] < one["high"]
        assert one["clusters"] == women["cluster_id"].nunique()
    error = row(found, measure="ece", attribute="gender", subgroup="woman")
    assert error["act"] == f"bins:{bins_for(women['cluster_id'].nunique())}"
    assert row(found, measure="brier", attribute=ALL)["n"] == 90


def test_a_missing_score_is_no_number_not_a_zero() -> None:
    audited = people(60)
    audited.loc[audited.index[0], "score"] = np.nan
    found = built(audited, NO_TRIALS)
    for measure in ("brier", "calibration_gap", "ece"):
        assert math.isnan(row(found, measure=measure)["effect"])


@given(st.permutations(range(30)))
@some_examples
def test_calibration_does_not_depend_on_the_order(order: list[int]) -> None:
    rng = np.random.default_rng(8)
    confidence, right = rng.uniform(0.5, 1, 30), rng.integers(0, 2, 30).astype(float)
    clusters = np.arange(30) // 2
    plain = squared_error(confidence, right, clusters, 2)
    assert squared_error(confidence[order], right[order], clusters[order], 2) == pytest.approx(
        plain
    )


# ---- the right answer


def test_a_cue_helps_where_it_agrees_and_misleads_where_it_conflicts() -> None:
    audited = people(200, cluster_size=2)
    trials = planted.removal(audited, "hair", flips=0.2)
    agrees = (audited["label"] == "doctor") == (audited["attribute:gender"] == "man")
    by_id = dict(zip(audited["sample_id"], np.where(agrees, 1.5, -1.5), strict=True))
    cue = trials["sample_id"].map(by_id).astype(float)
    trials["true_margin_after"] = np.where(trials["arm"] == "act", 1.0 - cue, 1.0)
    found = built(audited, trials)
    sd = audited["margin"].astype(float).std()
    for label, gender, sign in (("doctor", "man", 1), ("doctor", "woman", -1)):
        for act in ("remove:blur", "swap"):
            one = row(
                found, measure="true_margin_effect", region="hair", target_class=label, act=act,
                attribute="gender", subgroup=gender,
            )  # fmt: skip
            assert one["effect"] == pytest.approx(sign * 1.5 / sd)
            assert not one["required"]
            members = audited[(audited["label"] == label) & (audited["attribute:gender"] == gender)]
            assert one["n"] == len(members)


def test_the_effect_on_the_right_answer_is_the_mean_over_clusters() -> None:
    audited = planted.samples(60, cluster_size=3)
    trials = planted.removal(audited, "face", flips=0.1, swap=False)
    rng = np.random.default_rng(11)
    trials["true_margin_after"] = rng.normal(size=len(trials))
    trials = trials[trials["sample_id"] != "s00000"]
    found = row(
        built(audited, trials),
        measure="true_margin_effect", region="face", target_class="doctor", act="remove:blur",
    )  # fmt: skip
    by_cluster: dict[str, list[float]] = defaultdict(list)
    for sample in audited.to_dict("records"):
        own = trials[(trials["sample_id"] == sample["sample_id"]) & (trials["fill"] == "blur")]
        if sample["label"] == "doctor" and len(own):
            arms = own.set_index("arm")["true_margin_after"]
            by_cluster[sample["cluster_id"]].append(arms["placebo"] - arms["act"])
    means = [sum(values) / len(values) for values in by_cluster.values()]
    sd = audited["margin"].astype(np.float64).std()
    assert found["effect"] == pytest.approx(sum(means) / len(means) / sd, rel=1e-5)
    assert found["clusters"] == len(means)
    assert found["excluded"] == 1


def test_what_was_drawn_stands_for_the_rest() -> None:
    audited = planted.samples(60)
    drawn = np.where(np.arange(60) < 40, np.where(np.arange(60) < 20, 1.0, 2.0), 0.0)
    audited["stands_for"] = drawn
    trials = planted.removal(audited[drawn > 0], "face", flips=0.1, swap=False)
    trials["true_margin_after"] = np.random.default_rng(12).normal(size=len(trials))
    found = row(
        built(audited, trials),
        measure="true_margin_effect", region="face", target_class="doctor", act="remove:blur",
    )  # fmt: skip
    blur = trials[trials["fill"] == "blur"].pivot(
        index="sample_id", columns="arm", values="true_margin_after"
    )
    drop = (blur["placebo"] - blur["act"]) / audited["margin"].astype(np.float64).std()
    whole = audited.set_index("sample_id").loc[drop.index]
    doctors = (whole["label"] == "doctor").to_numpy()
    weights = whole["stands_for"].to_numpy()[doctors]
    values = drop.to_numpy()[doctors]
    assert found["effect"] == pytest.approx((weights * values).sum() / weights.sum(), rel=1e-5)
    assert (found["n"], found["excluded"], found["undrawn"]) == (20, 0, 10)


def test_the_mean_of_equal_clusters_is_student_s() -> None:
    rng = np.random.default_rng(13)
    values = rng.normal(size=24)
    found = mean(values, np.full(24, 1 / 24), np.arange(24) // 2, 0.95)
    by_cluster = stats.ttest_1samp(values.reshape(12, 2).mean(1), 0).confidence_interval(0.95)
    assert_allclose((found.low, found.high), by_cluster)
    alone = mean(values, np.full(24, 1 / 24), np.zeros(24, int), 0.95)
    assert alone.effect == pytest.approx(values.mean())
    assert math.isnan(alone.low)


def test_half_a_pair_is_no_number() -> None:
    audited = planted.samples(60)
    trials = planted.removal(audited, "face", flips=0.1, swap=False)
    half = (trials["arm"] == "placebo") & (trials["sample_id"] == "s00000")
    found = row(
        built(audited, trials[~half]),
        measure="true_margin_effect", region="face", target_class="doctor", act="remove:blur",
    )  # fmt: skip
    assert math.isnan(found["effect"])
    assert found["n"] == 30


def test_nothing_of_it_changes_the_verdict_s_rows() -> None:
    audited = with_training(people(120), CONFOUNDED)
    trials = planted.removal(people(120), "face", flips=0.2)
    found = built(audited, trials)
    harm = found["measure"].isin(HARM)
    assert harm.sum() > 20
    assert not found.loc[harm, "required"].any()
    assert found.loc[harm, ["p", "p_adjusted", "detectable"]].isna().all(axis=None)
