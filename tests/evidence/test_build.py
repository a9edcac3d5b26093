from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from scipy import stats

from audit.errors import RunError
from audit.evidence import ATTENTION_COLUMNS, INTERVENTIONS_COLUMNS, build_evidence
from audit.evidence.build import MEASURES, SCREEN
from audit.evidence.inputs import read_inputs
from audit.tables import ALL, ATTENTION, EVIDENCE, INTERVENTIONS, empty
from tests.evidence import planted
from tests.evidence.planted import built, row
from tests.oracles import statistics as oracle

NO_ATTENTION = empty(ATTENTION)
NO_TRIALS = empty(INTERVENTIONS)
WITHOUT_TRAINING = {"excess_flips", "accuracy", "share", "log_rho", "disparity"} | {
    *("worst_group", "brier", "calibration_gap", "ece", "true_margin_effect"),
}


def both_regions(samples: pd.DataFrame, face: float = 0.05, hair: float = 0.4) -> pd.DataFrame:
    return pd.concat(
        [
            planted.removal(samples, "face", flips=face),
            planted.removal(samples, "hair", flips=hair, seed=9),
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return planted.samples(120, cluster_size=2)


@pytest.fixture(scope="module")
def trials(samples: pd.DataFrame) -> pd.DataFrame:
    return both_regions(samples)


@pytest.fixture(scope="module")
def evidence(samples: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    return built(samples, trials, attention=planted.attention(samples, ("face", "tools")))


def test_it_has_the_columns_of_the_schema(evidence: pd.DataFrame) -> None:
    assert list(evidence.columns) == [column.name for column in EVIDENCE.columns]
    assert set(evidence["measure"]) == WITHOUT_TRAINING


@pytest.mark.parametrize(
    ("act", "test", "fill"),
    [("remove:blur", "removal", "blur"), ("swap", "swap", "donor")],
)
def test_reliance_is_what_a_loop_over_the_rows_finds(
    samples: pd.DataFrame, trials: pd.DataFrame, act: str, test: str, fill: str
) -> None:
    some = trials[trials["sample_id"] != "s00004"]
    found = row(built(samples, some), region="hair", target_class="doctor", act=act)
    expected = oracle.reliance(
        samples,
        some,
        region="hair",
        test=test,
        fill=fill,
        predicted="doctor",
        sd=samples["margin"].astype(float).std(),
    )
    assert expected["excluded"] == 1
    if test == "swap":  # some donors give more than once, and count once
        assert found["clusters"] <= expected.pop("clusters")
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_pictures_without_the_region_are_not_left_out(samples: pd.DataFrame) -> None:
    trials = planted.removal(samples, "face", flips=0.1, swap=False)
    trials = trials[trials["sample_id"] > "s00009"]
    attention = planted.attention(samples, ("face", "hair"))
    attention.loc[attention["sample_id"] <= "s00004", "area"] = 0.0
    found = built(samples, trials, attention=attention)
    doctors = samples[samples["prediction"] == "doctor"]["sample_id"]
    cell = row(found, region="face", target_class="doctor", act="remove:blur")
    assert cell["n"] == (doctors > "s00009").sum()
    assert cell["excluded"] == ((doctors > "s00004") & (doctors <= "s00009")).sum()
    unmeasured = row(
        built(samples, trials), region="face", target_class="doctor", act="remove:blur"
    )
    assert unmeasured["excluded"] == (doctors <= "s00009").sum()


@pytest.mark.parametrize("arm", ["act", "placebo"])
def test_half_a_pair_is_never_dropped(
    samples: pd.DataFrame, trials: pd.DataFrame, arm: str
) -> None:
    # without the placebos of the pictures that flipped, reliance would vanish
    flipped = trials["prediction_after"].astype(str) != trials["prediction_before"].astype(str)
    ids = trials.loc[flipped & (trials["arm"] == "act"), "sample_id"]
    halved = trials[~((trials["arm"] == arm) & trials["sample_id"].isin(ids))]
    found = built(samples, halved)
    required = found[found["required"]]
    assert (required["n"] > 0).all()
    assert required[["effect", "upper_limit", "p"]].isna().all(axis=None)


def test_swaps_that_share_a_donor_are_not_independent(samples: pd.DataFrame) -> None:
    trials = both_regions(samples)
    alone = row(built(samples, trials), region="hair", target_class="doctor", act="swap")
    ids = samples["sample_id"].astype(str)
    few = trials.assign(donor_id=trials["sample_id"].map(dict(zip(ids, ids[::-1], strict=True))))
    shared = few["arm"].eq("act") & few["test"].eq("swap")
    few.loc[shared, "donor_id"] = few.loc[shared, "sample_id"].map(
        {name: ids[i % 12] for i, name in enumerate(ids)}
    )
    found = row(built(samples, few), region="hair", target_class="doctor", act="swap")
    assert found["clusters"] == 6  # twelve donors in pairs of one cluster
    assert found["effect"] == alone["effect"]
    assert found["p"] >= 1 / 2**6
    assert found["high"] - found["low"] > alone["high"] - alone["low"] - 1e-12


def test_subgroups_partition_the_class() -> None:
    alone = planted.samples(120)
    evidence = built(alone, both_regions(alone))
    whole = row(evidence, region="hair", target_class="nurse", act="swap")
    parts = [
        row(
            evidence,
            region="hair",
            target_class="nurse",
            act="swap",
            attribute="gender",
            subgroup=v,
        )
        for v in ("man", "woman")
    ]
    assert sum(part["n"] for part in parts) == whole["n"]
    pooled = sum(part["n"] * part["effect"] for part in parts) / whole["n"]
    assert pooled == pytest.approx(whole["effect"])
    assert not any(part["required"] for part in parts)
    assert np.isnan([part["p_adjusted"] for part in parts]).all()


def test_order_of_rows_changes_nothing(samples: pd.DataFrame, trials: pd.DataFrame) -> None:
    attention = planted.attention(samples, ("face",))
    config = planted.config()
    mixed = (table.sample(frac=1, random_state=3) for table in (samples, attention, trials))
    first, second, third = mixed
    assert_frame_equal(
        build_evidence(first, second, third, config),
        build_evidence(samples, attention, trials, config),
    )


def test_planted_reliance_is_found_and_its_absence_too(evidence: pd.DataFrame) -> None:
    for target in planted.CLASSES:
        for act in ("remove:blur", "remove:local-mean", "swap"):
            hair = row(evidence, region="hair", target_class=target, act=act)
            assert hair["lower_limit"] > 0.05
            assert hair["p_adjusted"] < 0.05
            assert hair["margin_effect"] > 0
            face = row(evidence, region="face", target_class=target, act=act)
            assert face["lower_limit"] < 0.05
            assert face["p_adjusted"] > 0.05


def test_conflicting_samples_do_not_cancel(samples: pd.DataFrame) -> None:
    # the class is the one predicted: half of the true labels may be wrong and nothing changes
    trials = both_regions(samples)
    shuffled = samples.assign(label=samples["label"].iloc[::-1].to_numpy())
    columns = ["region", "target_class", "act", "effect", "p"]
    before, after = built(samples, trials), built(shuffled, trials)
    assert not before.loc[before["measure"] == "accuracy", "effect"].equals(
        after.loc[after["measure"] == "accuracy", "effect"]
    )
    assert_frame_equal(
        before.loc[before["required"], columns], after.loc[after["required"], columns]
    )


def test_holm_is_over_the_required_tests_only(evidence: pd.DataFrame) -> None:
    required = evidence[evidence["required"]]
    assert len(required) == 2 * 2 * 3
    assert_allclose(required["p_adjusted"], oracle.holm(required["p"].tolist()))
    others = evidence[~evidence["required"] & ~evidence["measure"].isin(SCREEN)]
    assert others["p_adjusted"].isna().all()


def test_what_could_not_be_tested_is_there_with_nothing(samples: pd.DataFrame) -> None:
    found = built(samples, planted.removal(samples, "hair", flips=0.4, swap=False))
    face = found[found["required"] & (found["region"] == "face")]
    assert len(face) == 2 * 3
    assert (face["n"] == 0).all()
    assert face[["effect", "p", "upper_limit", "p_adjusted"]].isna().all(axis=None)
    doctors = (samples["prediction"] == "doctor").sum()
    assert row(face, target_class="doctor", act="swap")["excluded"] == doctors
    assert row(found, region="hair", target_class="doctor", act="swap")["n"] == 0
    nothing = built(samples, NO_TRIALS)
    assert len(nothing[nothing["required"]]) == 2 * 2 * 3


def test_a_class_without_samples_is_there(samples: pd.DataFrame) -> None:
    config = planted.config(data={"classes": ["doctor", "nurse", "surgeon"]})
    found = built(samples, both_regions(samples), config)
    assert row(found, region="hair", target_class="surgeon", act="swap")["n"] == 0


def test_required_regions_follow_the_policy(samples: pd.DataFrame) -> None:
    found = built(samples, both_regions(samples), planted.config(policy={"required": ["hair"]}))
    assert set(found.loc[found["required"], "region"]) == {"hair"}


def test_other_fills_than_configured_are_reported(samples: pd.DataFrame) -> None:
    trials = planted.removal(samples, "hair", flips=0.4, fills=("blur", "local-mean", "noise"))
    found = built(samples, trials)
    assert row(found, region="hair", target_class="nurse", act="remove:noise")["n"] > 0


def test_only_audited_samples_count(samples: pd.DataFrame, trials: pd.DataFrame) -> None:
    changed = samples.astype({"status": object, "part": object})
    changed.loc[changed["sample_id"] == "s00000", "status"] = "quarantined"
    changed.loc[changed["sample_id"] == "s00001", "part"] = "train"
    found = built(changed, trials)
    total = found[(found["region"] == "hair") & (found["act"] == "swap") & found["required"]]
    assert total["n"].sum() == len(samples) - 2
    assert row(found, measure="accuracy", target_class=ALL)["n"] == len(samples) - 2


@pytest.mark.parametrize(
    ("column", "value", "missing"),
    [
        ("margin_after", np.nan, "margin_effect"),
        ("margin_after", np.inf, "p"),
        ("prediction_after", None, "effect"),
    ],
)
def test_a_missing_number_is_never_dropped(
    samples: pd.DataFrame, column: str, value: Any, missing: str
) -> None:
    trials = both_regions(samples)
    trials[column] = trials[column].astype(object)
    target = (trials["region"] == "hair") & (trials["arm"] == "act") & (trials["fill"] == "blur")
    trials.loc[target & (trials["sample_id"] == "s00000"), column] = value
    predicted = samples.loc[samples["sample_id"] == "s00000", "prediction"].iloc[0]
    found = row(built(samples, trials), region="hair", target_class=predicted, act="remove:blur")
    assert np.isnan(found[missing])


def test_tables_of_different_audits_are_refused(samples: pd.DataFrame) -> None:
    trials = both_regions(planted.samples(122))
    with pytest.raises(RunError, match=r"interventions: sample 's00120' is not in the samples"):
        built(samples, trials)


def test_a_sample_without_a_prediction_is_refused(
    samples: pd.DataFrame, trials: pd.DataFrame
) -> None:
    changed = samples.copy()
    changed.loc[changed["sample_id"] == "s00007", "prediction"] = None
    with pytest.raises(RunError, match=r"samples: 's00007' has no prediction"):
        built(changed, trials)


def test_a_trial_done_twice_is_refused(samples: pd.DataFrame, trials: pd.DataFrame) -> None:
    with pytest.raises(
        RunError, match=r"'s00000' has two rows for removal of 'face' \(blur, act\)"
    ):
        built(samples, pd.concat([trials, trials.head(1)]))


def paired_flips(by_act: int, by_placebo: int) -> pd.Series:
    """Evidence on 100 pairs of which some flip by the act alone, others by the placebo alone."""
    samples = planted.samples(100, classes=("doctor",)).assign(prediction="doctor")
    trials = planted.removal(samples, "hair", flips=0, placebo_flips=0, swap=False)
    act, placebo = (trials["arm"] == arm for arm in ("act", "placebo"))
    index = trials["sample_id"].str[1:].astype(int)
    changed = (act & (index < by_act)) | (placebo & (index >= 100 - by_placebo))
    trials["prediction_after"] = trials["prediction_after"].astype(str).mask(changed, "another")
    config = planted.config(interventions={"swap": None})
    return row(built(samples, trials, config), region="hair", act="remove:blur")


def test_detectable_by_the_normal_approximation() -> None:
    found = paired_flips(30, 10)
    assert found["effect"] == pytest.approx(0.20)
    se = np.sqrt((0.4 - 0.2**2) / 99)
    z, power = stats.norm.ppf(0.95), stats.norm.ppf(0.8)
    assert found["detectable"] == pytest.approx(0.05 + (z + power) * se, rel=0.05)


@pytest.mark.parametrize(("act", "placebo"), [(0, 0), (4, 4), (10, 4), (2, 9)])
def test_detectable_effect_has_its_own_variance(act: int, placebo: int) -> None:
    found = paired_flips(act, placebo)
    z, power = stats.norm.ppf(0.95), stats.norm.ppf(0.8)
    effect = (act - placebo) / 100
    error = (found["upper_limit"] - found["lower_limit"]) / (2 * z)
    others = error**2 - (act + placebo - 100 * effect**2) / 100**2  # of the limits at few events

    def variance(wanted: float) -> float:
        return (wanted + 2 * placebo / 100 - wanted**2) / 100 + others

    wanted = found["detectable"]
    assert wanted == pytest.approx(0.05 + (z + power) * np.sqrt(variance(wanted)), abs=1e-9)


def test_enough_resamples_for_holm_to_reach_alpha(samples: pd.DataFrame) -> None:
    config = planted.config(policy={"alpha": 0.001}, statistics={"resamples": 99})
    inputs = read_inputs(samples, NO_ATTENTION, NO_TRIALS, config)
    tests = 2 * 2 * 3
    assert tests / (inputs.resamples + 1) < 0.001


def test_accuracy_per_class_and_subgroup(samples: pd.DataFrame, evidence: pd.DataFrame) -> None:
    right = samples["prediction"].astype(str) == samples["label"].astype(str)
    assert row(evidence, measure="accuracy", target_class=ALL)["effect"] == right.mean()
    women = (samples["label"] == "nurse") & (samples["attribute:gender"] == "woman")
    cell = row(
        evidence, measure="accuracy", target_class="nurse", attribute="gender", subgroup="woman"
    )
    assert (cell["n"], cell["effect"]) == (women.sum(), pytest.approx(right[women].mean()))
    assert cell["low"] < cell["lower_limit"] < cell["effect"] < cell["upper_limit"] < cell["high"]


def test_a_missing_attribute_is_a_subgroup(samples: pd.DataFrame, trials: pd.DataFrame) -> None:
    changed = samples.copy()
    changed.loc[changed.index[:10], "attribute:gender"] = None
    found = built(changed, trials)
    cell = row(found, measure="accuracy", target_class=ALL, attribute="gender", subgroup="unknown")
    assert cell["n"] == 10


def test_attention_excludes_dead_and_unmeasurable_maps(samples: pd.DataFrame) -> None:
    attention = planted.attention(samples, ("face",))
    attention.loc[attention["sample_id"] == "s00002", "measurable"] = False
    found = built(samples, NO_TRIALS, attention=attention)
    cell = row(found, measure="share", region="face", target_class="doctor")
    used = attention[
        (attention["target_class"] == "doctor") & attention["measurable"] & ~attention["dead"]
    ]
    assert (cell["n"], cell["excluded"]) == (len(used), 2)
    clusters = used.merge(samples[["sample_id", "cluster_id"]], on="sample_id")
    means = clusters.groupby("cluster_id")["share"].mean()
    assert cell["effect"] == pytest.approx(means.mean())
    logs = row(found, measure="log_rho", region="face", target_class="doctor")
    assert logs["effect"] == pytest.approx(np.log(clusters["rho"]).mean())
    assert logs["act"] == "explain:grad-cam"
    assert cell["role"] == "forbidden"


def test_an_empty_audit_still_lists_what_is_required() -> None:
    config = planted.config(data={"classes": list(planted.CLASSES)})
    samples = planted.samples(2).head(0)
    found = built(samples, NO_TRIALS, config)
    assert found["required"].sum() == 2 * 2 * 3
    assert found["effect"].isna().all()


def test_the_named_columns_are_enough(samples: pd.DataFrame, trials: pd.DataFrame) -> None:
    attention, config = planted.attention(samples, ("face",)), planted.config()
    assert_frame_equal(
        build_evidence(
            samples,
            attention[list(ATTENTION_COLUMNS)],
            trials[list(INTERVENTIONS_COLUMNS)],
            config,
        ),
        build_evidence(samples, attention, trials, config),
    )


def test_measures_are_functions_from_inputs_to_rows(
    samples: pd.DataFrame, trials: pd.DataFrame
) -> None:
    attention = planted.attention(samples, ("tools",))
    inputs = read_inputs(samples, attention, trials, planted.config())
    names = {row.measure for measure in MEASURES for row in measure(inputs)}
    assert names == WITHOUT_TRAINING
