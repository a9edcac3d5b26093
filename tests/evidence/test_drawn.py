"""Evidence where the interventions were done on a draw of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.config import Audit
from audit.evidence import build_evidence
from audit.evidence.exchange import exchange
from audit.gate import judge_findings
from audit.interventions.draw import draw
from audit.tables import ALL, ATTENTION, empty
from tests.evidence import planted


def evidence(samples: pd.DataFrame, trials: pd.DataFrame, config: Audit) -> pd.DataFrame:
    kept = samples.loc[samples["stands_for"] > 0, "sample_id"]
    return build_evidence(samples, empty(ATTENTION), trials[trials["sample_id"].isin(kept)], config)


def config(per_cell: int | None, **policy: Any) -> Audit:
    return planted.config(
        interventions={"per_cell": per_cell, "swap": None},
        policy={"required": ["hair"], **policy},
        data={"classes": list(planted.CLASSES)},
    )


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    """1,500 samples, of which few are women."""
    table = planted.samples(1500)
    women = np.random.default_rng(1).random(1500) < 0.15
    return table.assign(**{"attribute:gender": np.where(women, "woman", "man")})


@pytest.fixture(scope="module")
def trials(samples: pd.DataFrame) -> pd.DataFrame:
    return planted.removal(samples, "hair", flips=0.3, swap=False)


def whole(table: pd.DataFrame, target: str, act: str = "remove:blur") -> dict[str, Any]:
    rows = table[
        (table["measure"] == "excess_flips") & (table["region"] == "hair")
        & (table["target_class"] == target) & (table["act"] == act) & (table["attribute"] == ALL)
    ]  # fmt: skip
    return dict(rows.iloc[0])


def test_the_effect_is_the_weighted_mean_of_the_drawn(
    samples: pd.DataFrame, trials: pd.DataFrame
) -> None:
    asked = config(60, min_clusters=30)
    table = samples.assign(stands_for=draw(samples, asked))
    cell = whole(evidence(table, trials, asked), "nurse")
    rows = trials[(trials["fill"] == "blur") & (trials["region"] == "hair")]
    flips = rows.assign(
        flip=rows["prediction_before"].astype(str) != rows["prediction_after"].astype(str)
    ).pivot(index="sample_id", columns="arm", values="flip")
    total = weight = count = 0.0
    for one in table.to_dict("records"):
        if one["prediction"] == "nurse" and one["stands_for"] > 0:
            arms = flips.loc[one["sample_id"]]
            total += one["stands_for"] * (int(arms["act"]) - int(arms["placebo"]))
            weight += one["stands_for"]
            count += 1
    assert cell["effect"] == pytest.approx(total / weight)
    assert cell["n"] == count
    nurses = (table["prediction"] == "nurse").sum()
    assert (cell["excluded"], cell["undrawn"]) == (0, nurses - count)


def test_what_was_not_drawn_is_told_and_bars_no_clearing(samples: pd.DataFrame) -> None:
    harmless = planted.removal(samples, "hair", flips=0.05, swap=False)
    asked = config(300, min_clusters=30, pass_effect=0.2)
    table = samples.assign(stands_for=draw(samples, asked))
    found = judge_findings(evidence(table, harmless, asked), asked)
    assert {finding.status for finding in found} == {"CLEARED"}
    assert all(act.undrawn > 0 for finding in found for act in finding.acts)


def test_an_open_finding_says_that_more_could_be_drawn(samples: pd.DataFrame) -> None:
    some = planted.removal(samples, "hair", flips=0.12, swap=False)
    asked = config(40, min_clusters=30)
    table = samples.assign(stands_for=draw(samples, asked))
    found = judge_findings(evidence(table, some, asked), asked)
    assert {finding.status for finding in found} == {"INCONCLUSIVE"}
    assert all("were not drawn (interventions.per_cell)" in finding.reason for finding in found)


def test_the_more_are_drawn_the_narrower_the_interval(
    samples: pd.DataFrame, trials: pd.DataFrame
) -> None:
    widths = []
    for per_cell in (40, 160, None):
        asked = config(per_cell, min_clusters=30)
        table = samples.assign(stands_for=draw(samples, asked))
        cell = whole(evidence(table, trials, asked), "doctor")
        widths.append(cell["high"] - cell["low"])
    assert widths == sorted(widths, reverse=True)


def test_the_interval_covers_what_all_samples_would_have_shown(
    samples: pd.DataFrame, trials: pd.DataFrame
) -> None:
    """Over draws, at least as often as it says (the draw is without replacement)."""
    everyone = samples.assign(stands_for=1.0)
    truth = whole(evidence(everyone, trials, config(None)), "nurse")["effect"]
    covered = []
    for seed in range(40):
        asked = config(80, min_clusters=30).model_copy(update={"seed": seed})
        table = samples.assign(stands_for=draw(samples, asked))
        cell = whole(evidence(table, trials, asked), "nurse")
        covered.append(cell["low"] <= truth <= cell["high"])
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 40)


def test_exchange_weighs_pictures_by_what_they_stand_for() -> None:
    """As if every picture were there as often as it stands for."""
    rng = np.random.default_rng(0)
    n, k = 40, 2
    before, after = rng.normal(size=(2, n, k))
    times = rng.integers(1, 4, n)
    clusters = np.arange(n)
    weighed = exchange(before, after, clusters, rng, times.astype(float))
    again = np.repeat(np.arange(n), times)
    answers = before.argmax(1)
    weights = np.zeros(n)
    for answer in range(k):
        of = answers == answer
        weights[of] = times[of] / (k * times[of].sum())
    rate = 0.0
    for i in range(n):
        for answer in range(k):
            others = [j for j in again if answers[j] == answer and j != i]
            kept = [(after[i] + before[j] - after[j]).argmax() == answers[i] for j in others]
            rate += weights[i] * np.mean(kept) / k
    assert weighed is not None
    assert weighed.rate == pytest.approx(rate)
