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


def test_the_excess_is_the_mean_keep_rate_over_classes_minus_chance() -> None:
    samples = planted.samples(100)
    trials = planted.sufficiency(samples, "rest", keep=0.7)
    kept = trials[trials["fill"] == "blur"].set_index("sample_id")
    same = kept["prediction_after"].astype(str) == kept["prediction_before"].astype(str)
    ids = samples["sample_id"]
    rates = [
        np.mean([same[i] for i, p in zip(ids, samples["prediction"], strict=True) if p == c])
        for c in planted.CLASSES
    ]
    cell = row(found(samples, trials), region="rest", act="keep:blur")
    assert cell["effect"] == pytest.approx(np.mean(rates) - 1 / 2)
    assert (cell["target_class"], cell["n"], cell["measure"]) == (ALL, 100, "sufficiency_excess")
    assert cell["clusters"] == min((samples["prediction"] == c).sum() for c in planted.CLASSES)
    assert cell["low"] < cell["lower_limit"] < cell["effect"] < cell["upper_limit"] < cell["high"]
    assert np.isnan(cell["margin_effect"])
    assert cell["required"]


def test_one_answer_for_every_picture_is_chance() -> None:
    samples = planted.samples(300, classes=("a", "b", "c"))
    trials = planted.sufficiency(samples, "rest", keep=1.0)
    cell = row(found(samples, trials.assign(prediction_after="a")), region="rest", act="keep:blur")
    assert cell["effect"] == pytest.approx(0, abs=1e-12)
    assert cell["p"] > 0.1


def test_keeping_every_answer_is_the_largest_excess() -> None:
    samples = planted.samples(300, classes=("a", "b", "c"))
    trials = planted.sufficiency(samples, "rest", keep=1.0)
    cell = row(found(samples, trials), region="rest", act="keep:local-mean")
    assert cell["effect"] == pytest.approx(2 / 3)
    assert cell["high"] == pytest.approx(2 / 3)
    assert cell["p"] == 1 / 1000


def test_p_is_the_sign_flip_of_contributions_in_which_classes_weigh_the_same() -> None:
    samples = planted.samples(9).assign(prediction=["doctor"] * 6 + ["nurse"] * 3)
    trials = planted.sufficiency(samples, "rest", keep=0.6)
    first = trials[trials["fill"] == "blur"].sort_values("sample_id")
    same = first["prediction_after"].astype(str) == first["prediction_before"].astype(str)
    sizes = [6] * 6 + [3] * 3
    parts = [(keeps - 1 / 2) / (2 * size) for keeps, size in zip(same, sizes, strict=True)]
    cell = row(found(samples, trials), region="rest", act="keep:blur")
    assert 0 < same.mean() < 1
    assert cell["effect"] == pytest.approx(sum(parts))
    assert cell["p"] == pytest.approx(oracle.sign_flip(parts, list(range(9))))


def test_it_replaces_removal_where_only_it_was_done() -> None:
    samples = planted.samples(80)
    table = found(samples, planted.sufficiency(samples, "rest", keep=0.5))
    required = table[table["required"]]
    assert list(required["act"]) == ["keep:blur", "keep:local-mean"]


def test_a_class_never_predicted_leaves_nothing_to_estimate() -> None:
    samples = planted.samples(80).assign(prediction="nurse")
    cell = row(
        found(samples, planted.sufficiency(samples, "rest", keep=0.9)),
        region="rest",
        act="keep:blur",
    )
    assert (cell["n"], cell["clusters"]) == (80, 0)
    assert np.isnan([cell["effect"], cell["p"], cell["upper_limit"]]).all()


def test_samples_without_a_trial_are_excluded_and_a_missing_fill_is_a_row() -> None:
    samples = planted.samples(80)
    trials = planted.sufficiency(samples, "rest", keep=0.9)
    table = found(samples, trials[(trials["fill"] == "blur") & (trials["sample_id"] > "s00009")])
    cell = row(table, region="rest", act="keep:blur")
    assert (cell["n"], cell["excluded"]) == (70, 10)
    assert row(table, region="rest", act="keep:local-mean")["n"] == 0


def test_an_unknown_answer_is_never_taken_for_a_change() -> None:
    samples = planted.samples(80)
    trials = planted.sufficiency(samples, "rest", keep=0.9)
    trials.loc[trials["sample_id"] == "s00003", "prediction_after"] = None
    assert np.isnan(row(found(samples, trials), region="rest", act="keep:blur")["effect"])
