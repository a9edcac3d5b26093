"""The scorecard of an audit: its rows, what is undefined, and that nothing else is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit import steps
from audit.checks import explainer_trusted
from audit.checks.scorecard import CHECKS, COSTLY, examine_explainer
from audit.checks.subject import chosen
from audit.config import Audit
from audit.context import Context
from audit.runs.folder import Run
from audit.tables import SCORECARD, read_table


def configured(context: Context, **sections: dict[str, Any]) -> Context:
    told = context.config.model_dump()
    for name, values in sections.items():
        told[name] = {**told[name], **values}
    return replace(context, config=Audit.model_validate(told))


@pytest.fixture(scope="module")
def card(context: Context) -> pd.DataFrame:
    return examine_explainer(context)


def end_of_cascade(card: pd.DataFrame) -> pd.Series:
    rows = card[card["gates"] & (card["statistic"] == "rank correlation")]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_gate_counts_every_sample(card: pd.DataFrame) -> None:
    end = end_of_cascade(card)
    assert end["n"] == end["clusters"] == 32
    assert 0 <= end["low"] < end["effect"] < end["upper_limit"] < end["high"] <= 1
    assert end["passed"] == (end["upper_limit"] < end["threshold"])
    assert explainer_trusted(card) is bool(card.loc[card["gates"], "passed"].all())


def test_what_is_costly_and_informs_alone_sees_few(card: pd.DataFrame) -> None:
    assert card.loc[card["check"].isin(COSTLY), "n"].max() == 24
    assert end_of_cascade(card)["n"] > 24


def test_every_check_has_rows_with_numbers_in_their_intervals(card: pd.DataFrame) -> None:
    assert list(card["check"].unique()) == list(CHECKS)
    measured = card[card["n"] > 0]
    assert measured[["effect", "low", "high"]].notna().all(axis=None)
    assert (measured["low"] <= measured["effect"] + 1e-9).all()
    assert (measured["effect"] <= measured["high"] + 1e-9).all()
    assert card["meaning"].str.len().gt(20).all()
    informs = card[~card["gates"]]
    assert informs["passed"].isna().all()


def test_earlier_stages_keep_more_of_the_map(card: pd.DataFrame) -> None:
    stages = card[(card["check"] == "randomisation") & (card["statistic"] == "rank correlation")]
    assert stages["effect"].iloc[0] > stages["effect"].iloc[-1]
    assert stages["stage"].iloc[-1] == "all weights"


def test_model_and_random_state_are_left_as_they_were(context: Context) -> None:
    module = context.classifier.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    hooks = [len(part._forward_hooks) for part in module.modules()]
    state = torch.get_rng_state()
    examine_explainer(context)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [len(part._forward_hooks) for part in module.modules()] == hooks
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_run_gives_the_same_numbers_and_another_seed_others(
    context: Context, card: pd.DataFrame
) -> None:
    pd.testing.assert_frame_equal(examine_explainer(context), card, check_exact=True)
    told = context.config.model_copy(update={"seed": 1})
    other = examine_explainer(replace(context, config=told))
    assert end_of_cascade(other)["effect"] != end_of_cascade(card)["effect"]


def test_the_order_of_the_rows_does_not_matter(context: Context) -> None:
    names = context.samples["sample_id"].to_numpy(object)
    order = np.random.default_rng(0).permutation(len(names))
    turned = replace(context, samples=context.samples.iloc[order].reset_index(drop=True))
    other = turned.samples["sample_id"].to_numpy(object)
    assert (names[chosen(context, 10)] == other[chosen(turned, 10)]).all()
    assert len(chosen(context, 10)) == 10
    assert len(chosen(context, 1000)) == len(context.audited)


def test_without_core_its_checks_say_why_and_the_rest_goes_on(
    context: Context, card: pd.DataFrame
) -> None:
    bare = examine_explainer(configured(context, regions={"roles": {"forbidden": ["sky"]}}))
    without = bare[bare["check"].isin(["pointing", "localisation"])]
    assert (without["n"] == 0).all()
    assert without["meaning"].str.startswith("Not measured: no picture").all()
    assert without["effect"].isna().all()
    assert end_of_cascade(bare).equals(end_of_cascade(card))


def test_an_adversary_too_weak_to_change_an_answer_says_so(context: Context) -> None:
    card = examine_explainer(configured(context, checks={"epsilon": 1e-9}))
    rows = card[card["check"] == "robustness"].set_index("statistic")
    assert rows.loc["changed answers", "effect"] == 0
    assert rows.loc["changed answers", "high"] > 0
    assert rows.loc["rank correlation", "n"] == 0
    assert "no right answer changed" in rows.loc["rank correlation", "meaning"]


def test_a_model_that_cannot_be_explained_is_not_trusted(context: Context) -> None:
    card = examine_explainer(replace(context, layer="head"))
    assert list(card["check"]) == list(CHECKS)
    assert (card["n"] == 0).all()
    assert explainer_trusted(card) is False


def test_a_check_that_breaks_says_so_and_the_rest_goes_on(
    context: Context, card: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(subject: object) -> None:
        raise ValueError("not finite")

    monkeypatch.setitem(CHECKS, "pointing", broken)
    found = examine_explainer(context)
    (row,) = found[found["check"] == "pointing"].to_dict("records")
    assert row["n"] == 0 and row["meaning"] == "Not measured: not finite"
    assert end_of_cascade(found).equals(end_of_cascade(card))


def test_switched_off_nothing_is_known(context: Context) -> None:
    card = examine_explainer(configured(context, checks={"enabled": False}))
    assert list(card.columns) == [column.name for column in SCORECARD.columns]
    assert card.empty
    assert explainer_trusted(card) is None


@pytest.mark.parametrize(
    ("passed", "expected"),
    [([], None), ([True, True], True), ([True, False], False), ([True, None], False),
     ([None, False], False)],
)  # fmt: skip
def test_every_gate_counts(passed: list[bool | None], expected: bool | None) -> None:
    rows = pd.DataFrame({"gates": [True] * len(passed) + [False], "passed": [*passed, None]})
    assert explainer_trusted(rows) is expected


def test_progress_goes_up_to_the_end(context: Context) -> None:
    told: list[tuple[int, int]] = []
    examine_explainer(context, lambda stage, done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[0][0] == 0 and told[-1][0] == told[-1][1] == told[0][1]
    assert len(told) > 30
    steps = [done for done, _ in told[:-1]]
    assert steps == list(range(len(steps)))  # no piece of the work is counted beyond the total
    assert steps[-1] <= told[-1][1]


def test_the_stage_writes_the_table_once(planned: Run, card: pd.DataFrame) -> None:
    steps.examine(planned)
    path = planned.table("scorecard")
    pd.testing.assert_frame_equal(read_table(path, SCORECARD), card, check_exact=True)
    written = path.stat().st_mtime_ns
    steps.examine(planned, lambda *told: pytest.fail("nothing is left to do"))
    assert path.stat().st_mtime_ns == written
