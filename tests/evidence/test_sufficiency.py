from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audit.config import Audit
from audit.tables import ALL
from tests.evidence import planted
from tests.evidence.planted import built, row
from tests.oracles import statistics as oracle


def outside(**changes: object) -> Audit:
    """An audit whose only forbidden region is everything outside the tools."""
    return planted.config(
        regions={"roles": {"core": ["tools"], "forbidden": ["rest"]}},
        interventions={"swap": None},
        **changes,
    )


def found(samples: pd.DataFrame, trials: pd.DataFrame, **changes: object) -> pd.DataFrame:
    return built(samples, trials, outside(**changes))


def logits(trials: pd.DataFrame, name: str) -> np.ndarray:
    first = trials[trials["fill"] == "blur"].sort_values("sample_id")
    return np.stack(first[name].to_list())


def test_the_excess_is_the_keep_rate_under_exchange_corrected_for_chance() -> None:
    samples = planted.samples(60, cluster_size=3)
    trials = planted.sufficiency(samples, "rest", rest=0.7)
    clusters = samples.sort_values("sample_id")["cluster_id"].tolist()
    before, after = (logits(trials, name) for name in ("logits_before", "logits_after"))
    rate = oracle.exchanged(before.tolist(), after.tolist(), clusters)
    cell = row(found(samples, trials), region="rest", act="keep:blur")
    assert cell["effect"] == pytest.approx((rate - 1 / 2) / (1 - 1 / 2))
    assert (cell["target_class"], cell["n"], cell["measure"]) == (ALL, 60, "sufficiency_kappa")
    assert cell["clusters"] == min(
        samples.loc[samples["prediction"] == c, "cluster_id"].nunique() for c in planted.CLASSES
    )
    assert cell["low"] < cell["lower_limit"] < cell["effect"] < cell["upper_limit"] < cell["high"]
    assert np.isnan(cell["margin_effect"])
    assert cell["required"]


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_the_core_alone_is_chance_and_the_rest_alone_the_largest_excess(
    classes: tuple[str, ...],
) -> None:
    samples = planted.samples(300, classes=classes)
    core, rest = (
        row(
            found(samples, planted.sufficiency(samples, "rest", rest=rest)),
            region="rest",
            act="keep:local-mean",
        )
        for rest in (0.0, 1.0)
    )
    assert core["effect"] == pytest.approx(0, abs=0.01)
    assert core["upper_limit"] < 0.10
    assert rest["effect"] == pytest.approx(1)
    assert rest["high"] == pytest.approx(1)
    assert rest["p"] == 1 / 1000


def test_p_is_small_where_answers_rest_on_the_rest_only() -> None:
    samples = planted.samples(200)
    p = [
        row(
            found(samples, planted.sufficiency(samples, "rest", rest=rest)),
            region="rest",
            act="keep:blur",
        )["p"]
        for rest in (0.0, 0.5)
    ]
    assert p[0] > 0.05 > p[1]


def test_it_replaces_removal_where_only_it_was_done() -> None:
    samples = planted.samples(80)
    table = found(samples, planted.sufficiency(samples, "rest", rest=0.5))
    required = table[table["required"]]
    assert list(required["act"]) == ["keep:blur", "keep:local-mean"]


def test_a_class_never_predicted_leaves_nothing_to_estimate() -> None:
    samples = planted.samples(80).assign(prediction="nurse")
    cell = row(
        found(samples, planted.sufficiency(samples, "rest", rest=0.9)),
        region="rest",
        act="keep:blur",
    )
    assert (cell["n"], cell["clusters"]) == (80, 0)
    assert np.isnan([cell["effect"], cell["p"], cell["upper_limit"]]).all()


def test_one_cluster_a_class_leaves_nothing_to_exchange() -> None:
    samples = planted.samples(40).assign(prediction=["doctor", "nurse"] * 20)
    samples["cluster_id"] = samples["prediction"].astype(str)
    cell = row(
        found(samples, planted.sufficiency(samples, "rest", rest=0.9)),
        region="rest",
        act="keep:blur",
    )
    assert (cell["n"], cell["clusters"]) == (40, 0)
    assert np.isnan([cell["effect"], cell["p"]]).all()


def test_samples_without_a_trial_are_excluded_and_a_missing_fill_is_a_row() -> None:
    samples = planted.samples(80)
    trials = planted.sufficiency(samples, "rest", rest=0.9)
    table = found(samples, trials[(trials["fill"] == "blur") & (trials["sample_id"] > "s00009")])
    cell = row(table, region="rest", act="keep:blur")
    assert (cell["n"], cell["excluded"]) == (70, 10)
    assert row(table, region="rest", act="keep:local-mean")["n"] == 0


@pytest.mark.parametrize("name", ["logits_before", "logits_after"])
@pytest.mark.parametrize("value", [None, [1.0], [np.nan, 0.0]], ids=["none", "short", "nan"])
def test_an_unknown_logit_is_never_dropped(name: str, value: object) -> None:
    samples = planted.samples(80)
    trials = planted.sufficiency(samples, "rest", rest=0.9)
    at = trials.index[trials["sample_id"] == "s00003"]
    trials[name] = trials[name].where(~trials.index.isin(at), pd.Series([value] * len(trials)))
    cell = row(found(samples, trials), region="rest", act="keep:blur")
    assert np.isnan([cell["effect"], cell["p"]]).all()
    assert cell["clusters"] > 0
