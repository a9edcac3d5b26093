"""Which samples are drawn, and what they stand for."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.config import Audit
from audit.evidence.intervals import equal_weights, paired_excess
from audit.interventions.draw import clusters_per_cell, draw
from tests.evidence import planted


def config(per_cell: int | str | None, **changes: Any) -> Audit:
    policy = {"min_clusters": 2, **changes.pop("policy", {})}
    return planted.config(interventions={"per_cell": per_cell}, policy=policy, **changes)


def table(rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    label, gender, cluster = zip(*rows, strict=True)
    return planted.samples(len(rows)).assign(
        label=list(label), cluster_id=[f"c{i}" for i in cluster], **{"attribute:gender": gender}
    )


def slowly(samples: pd.DataFrame, most: int, seed: int) -> list[float]:
    """Cell by cell, cluster by cluster."""
    rows = samples.to_dict("records")
    cells: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for value in ("", row["attribute:gender"]):
            cells.setdefault((row["label"], value), set()).add(row["cluster_id"])
    chance: dict[str, float] = {}
    drawn = set()
    for members in cells.values():
        ranked = sorted(members, key=lambda c: hashlib.sha256(f"{seed}/{c}".encode()).digest()[:8])
        drawn |= set(ranked[:most])
        for name in members:
            chance[name] = max(chance.get(name, 0), min(most, len(members)) / len(members))
    return [1 / chance[r["cluster_id"]] if r["cluster_id"] in drawn else 0.0 for r in rows]


people = st.lists(
    st.tuples(st.sampled_from(["doctor", "nurse"]), st.sampled_from("wm"), st.integers(0, 12)),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(people, st.integers(2, 6), st.integers(0, 5))
def test_draws_the_first_of_every_cell(
    rows: list[tuple[str, str, int]], most: int, seed: int
) -> None:
    samples = table(rows)
    found = draw(samples, config(most, seed=seed))
    np.testing.assert_allclose(found, slowly(samples, most, seed))


@settings(deadline=None)
@given(people, st.integers(2, 6), st.randoms())
def test_the_order_of_the_rows_draws_no_others(
    rows: list[tuple[str, str, int]], most: int, random: Any
) -> None:
    samples = table(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = draw(samples.iloc[order].reset_index(drop=True), config(most))
    assert np.array_equal(shuffled, draw(samples, config(most))[order])


@settings(deadline=None)
@given(people, st.integers(2, 5))
def test_who_is_drawn_of_more_is_drawn_of_fewer_too(
    rows: list[tuple[str, str, int]], most: int
) -> None:
    samples = table(rows)
    fewer, more = (draw(samples, config(n)) for n in (most, most + 1))
    assert (more[fewer > 0] > 0).all()


@pytest.mark.parametrize("per_cell", ["auto", None, 120])
def test_small_audits_are_altered_whole(per_cell: int | str | None) -> None:
    assert (draw(planted.samples(200), config(per_cell)) == 1).all()


def test_what_is_not_audited_is_left_as_it_is() -> None:
    samples = planted.samples(400).astype({"part": object, "status": object})
    samples.loc[:99, "part"] = "train"
    samples.loc[100:149, "status"] = "quarantined"
    found = draw(samples, config(10))
    assert (found[:150] == 1).all()
    kept = samples.iloc[150:].reset_index(drop=True)
    assert np.array_equal(found[150:], draw(kept, config(10)))


def test_another_seed_draws_others() -> None:
    samples = planted.samples(400)
    assert not np.array_equal(draw(samples, config(10)), draw(samples, config(10, seed=1)))


def test_the_drawn_stand_for_all_on_average() -> None:
    """A rare subgroup is drawn whole, the common one in part: the weighted mean is that of all."""
    rng = np.random.default_rng(0)
    samples = planted.samples(1200)
    rare = rng.random(1200) < 0.1
    samples["attribute:gender"] = np.where(rare, "woman", "man")
    values = np.where(rare, 0.9, 0.1)
    clusters = np.arange(1200)
    weighted, plain = [], []
    for seed in range(60):
        stands_for = draw(samples, config(40, seed=seed))
        used = stands_for > 0
        weighted.append(equal_weights(clusters[used], stands_for[used]) @ values[used])
        plain.append(values[used].mean())
    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - values.mean()) < 4 * error + 0.005
    assert np.mean(plain) > values.mean() + 0.1  # what the weights are for


def test_auto_draws_as_many_as_tell_the_two_limits_apart() -> None:
    """An effect at the failing limit, with the largest variance: cleared in four of five audits."""
    policy = {"fail_effect": 0.05, "pass_effect": 0.15, "sufficiency_pass": 0.4}
    n = clusters_per_cell(config("auto", policy=policy))
    assert n is not None
    rng = np.random.default_rng(0)
    draws = 400
    cleared = sum(
        paired_excess(
            *((rng.random(n) < p).astype(float) for p in (0.525, 0.475)), np.arange(n), 0.95
        ).upper_limit
        < policy["pass_effect"]
        for _ in range(draws)
    )
    assert abs(cleared / draws - 0.8) < 4 * np.sqrt(0.8 * 0.2 / draws)


def test_auto_draws_more_where_less_is_tolerated() -> None:
    sizes = [
        clusters_per_cell(config("auto", policy={"fail_effect": 0.02, "pass_effect": limit}))
        for limit in (0.04, 0.08, 0.16)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    assert clusters_per_cell(config("auto", policy={"min_clusters": 5000})) == 5000
    assert clusters_per_cell(config(None)) is None


def test_fewer_than_a_finding_needs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"per_cell: below policy.min_clusters \(30\)"):
        config(29, policy={"min_clusters": 30})
