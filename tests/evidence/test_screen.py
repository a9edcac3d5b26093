"""The attention screen: against loops over all permutations, under the null, on planted looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from scipy import stats

from audit.attention import measure
from audit.config import Audit
from audit.errors import RunError
from audit.evidence import build_evidence
from audit.evidence.alignment import Units, contributions, exchange_p
from audit.evidence.disparity import hedges_g, sides_of
from audit.evidence.permutation import Blocks, permutation_p
from audit.evidence.signflip import generator
from audit.evidence.subgroup_exchange import exchange_p as disparity_p
from audit.tables import ATTENTION, INTERVENTIONS, MAPS, empty, to_arrow
from tests.evidence import planted
from tests.evidence.planted import row, some_examples
from tests.oracles import screen as oracle

REGIONS = ("face", "hair", "tools", "rest")
SIDE = 6


def pictures(
    samples: pd.DataFrame, looks: dict[str, float], *, seed: int = 0, size: int = 2
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Maps and attention: regions are squares at random places, maps look at some more.

    The first map is dead, and the tools of the second picture are smaller than two cells.
    """
    rng = np.random.default_rng(seed)
    n = len(samples)
    masks = np.zeros((n, len(REGIONS), SIDE, SIDE), dtype=np.float32)
    for i in range(n):
        for r in range(3):
            top, left = rng.integers(0, SIDE - size + 1, 2)
            masks[i, r, top : top + size, left : left + size] = 1
        masks[i, 3] = 1 - masks[i, 2]
    masks[1, 2] = 0
    masks[1, 2, 0, 0] = 1
    maps = rng.normal(0.5, 0.5, (n, SIDE, SIDE)).astype(np.float32)
    for name, much in looks.items():
        maps += much * masks[:, REGIONS.index(name)]
    maps[0] = -1
    found = measure(torch.from_numpy(maps), torch.from_numpy(masks))
    ids, label = samples["sample_id"].astype(str).to_numpy(), samples["label"].astype(str)
    frame = pd.DataFrame(
        {
            "sample_id": ids,
            "explained": "true",
            "target_class": label.to_numpy(),
            "height": SIDE,
            "width": SIDE,
            "map": list(maps.reshape(n, -1)),
            "masks": list(masks.astype(np.float16).reshape(n, -1)),
        }
    )
    parts = [
        pd.DataFrame(
            {
                "sample_id": ids,
                "method": "grad-cam",
                "explained": "true",
                "target_class": label.to_numpy(),
                "region": region,
                "share": found.share[:, r],
                "area": found.area[:, r],
                "rho": found.rho[:, r],
                "pointing": found.pointing[:, r],
                "dead": found.dead,
                "measurable": found.measurable[:, r],
            }
        )
        for r, region in enumerate(REGIONS)
    ]
    return (
        to_arrow(frame, MAPS).to_pandas(),
        to_arrow(pd.concat(parts), ATTENTION).to_pandas(),
    )


def screened(
    samples: pd.DataFrame,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    config: Audit | None = None,
) -> pd.DataFrame:
    maps, attention = tables
    evidence = build_evidence(
        samples, attention, empty(INTERVENTIONS), config or planted.config(), maps
    )
    evidence = evidence[evidence["measure"].isin(["alignment", "disparity"])]
    texts = evidence.select_dtypes("category").columns
    return evidence.astype(dict.fromkeys(texts, object)).reset_index(drop=True)


@pytest.mark.parametrize("cluster_size", [1, 2])
def test_alignment_is_what_every_order_of_the_masks_gives(cluster_size: int) -> None:
    samples = planted.samples(12 * cluster_size, cluster_size=2 * cluster_size, seed=3)
    tables = pictures(samples, {"hair": 0.4})
    found = screened(samples, tables, planted.config(statistics={"resamples": 20_000}))
    maps, attention = tables
    for target in planted.CLASSES:
        for region in ("hair", "tools"):
            usable = attention[(attention["region"] == region) & attention["measurable"]]
            usable = usable[usable["share"].notna()]
            mine = samples["label"].eq(target) & samples["sample_id"].isin(usable["sample_id"])
            where = np.flatnonzero(mine)
            masks = [m.reshape(4, -1)[REGIONS.index(region)] for m in maps["masks"]]
            expected = oracle.alignment(
                [maps["map"][i] for i in where],
                [masks[i] for i in where],
                ["all"] * len(where),  # six clusters are too few for strata by gender
                samples["cluster_id"].iloc[where].tolist(),
            )
            cell = row(found, measure="alignment", region=region, target_class=target)
            assert cell["effect"] == pytest.approx(expected["effect"], abs=1e-6)
            assert cell["p"] == pytest.approx(expected["p"], abs=0.02)
            assert cell["clusters"] == expected["clusters"]
            assert cell["n"] == expected["n"]


@given(
    st.lists(st.sampled_from([0, 1, 2]), min_size=2, max_size=7),
    st.integers(0, 2**32 - 1),
)
@some_examples
def test_masks_are_exchanged_within_strata(strata: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = len(strata)
    maps, masks = rng.random((n, 4)), rng.random((n, 4))
    _, codes, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    company = sizes[codes] > 1
    if not company.any():
        return
    expected = oracle.alignment(list(maps), list(masks), strata, range(n))
    mass = maps / maps.sum(1, keepdims=True)
    units = Units(mass[company], masks[None, company], codes[company])
    assert contributions(units).mean() == pytest.approx(expected["effect"], abs=1e-12)
    p = exchange_p(units, rng, 2000, 2000)
    assert p[0] == pytest.approx(expected["p"], abs=0.06)


def test_disparity_is_what_every_exchange_gives() -> None:
    rng = np.random.default_rng(5)
    levels = np.array([0, 1, 0, 1, 1, 0, 2, 2, 0, 1])
    clusters = np.array([0, 1, 2, 3, 4, 5, 5, 6, 7, 7])  # two of them mixed
    values = rng.normal(size=levels.size) + levels
    sides = sides_of(values[None], levels, clusters)
    p = disparity_p(values[None], levels, clusters, rng, 20_000, 20_000)
    g = hedges_g(sides)
    for level in range(3):
        expected = oracle.disparity(values.tolist(), levels.tolist(), clusters.tolist(), level)
        assert sides.effect[0, level] == pytest.approx(expected["effect"])
        assert sides.clusters[level] == expected["clusters"]
        assert g[0, level] == pytest.approx(expected["g"])
        assert p[0, level] == pytest.approx(expected["p"], abs=0.015)


def test_disparity_rows_are_those_of_the_tables() -> None:
    samples = planted.samples(240, seed=2)
    tables = pictures(samples, {})
    found = screened(samples, tables)
    table = tables[1].merge(samples[["sample_id", "attribute:gender"]], on="sample_id")
    table = table[(table["region"] == "tools") & (table["target_class"] == "nurse")]
    table = table[table["measurable"] & table["share"].notna()]
    logs, gender = np.log(table["rho"].astype(float)), table["attribute:gender"]
    woman = row(
        found, measure="disparity", region="tools", target_class="nurse",
        attribute="gender", subgroup="woman",
    )  # fmt: skip
    assert woman["effect"] == pytest.approx(
        logs[gender == "woman"].mean() - logs[gender == "man"].mean()
    )
    assert woman["excluded"] == int(samples["attribute:gender"].iloc[1] == "woman")
    man = row(
        found, measure="disparity", region="tools", target_class="nurse",
        attribute="gender", subgroup="man",
    )  # fmt: skip
    for name in ("effect", "margin_effect"):
        assert man[name] == pytest.approx(-woman[name])
    assert (man["low"], man["high"]) == pytest.approx((-woman["high"], -woman["low"]), abs=0.05)
    assert man["p"] == woman["p"]


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.1, 5))
@some_examples
def test_disparity_has_the_symmetries_of_a_difference(seed: int, move: float, by: float) -> None:
    rng = np.random.default_rng(seed)
    values, levels = rng.normal(size=30), np.arange(30) % 2
    clusters = np.arange(30) // 3
    sides = sides_of(values[None], levels, clusters)
    moved = sides_of(by * values[None] + move, levels, clusters)
    swapped = sides_of(values[None], 1 - levels, clusters)
    assert_allclose(moved.effect, by * sides.effect, atol=1e-9)
    assert_allclose(hedges_g(moved), hedges_g(sides), atol=1e-9)
    assert_allclose(swapped.effect, -sides.effect, atol=1e-12)
    assert_allclose(swapped.effect, sides.effect[:, ::-1], atol=1e-12)

    def p(*arrays: Any) -> Any:
        return disparity_p(*arrays, generator(1), 99, 99)

    assert_allclose(
        p(by * values[None] + move, levels, clusters), p(values[None], levels, clusters)
    )
    assert_allclose(p(values[None], 1 - levels, clusters), p(values[None], levels, clusters))


def test_permutations_stay_within_their_blocks_and_are_uniform() -> None:
    codes = np.array([4, 7, 4, 7, 7, 9])
    drawn = Blocks(codes).permutations(6000, np.random.default_rng(0))
    assert (codes[drawn] == codes).all()
    assert (np.sort(drawn, axis=1) == np.arange(6)).all()
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert counts.size == 2 * 6
    assert stats.chisquare(counts).pvalue > 0.001


def test_a_p_of_more_permutations_is_valid() -> None:
    # Under the null the p of a statistic that goes on must be no more often small.
    rng = np.random.default_rng(0)
    blocks = Blocks(np.zeros(12, dtype=np.intp))
    values, places = rng.normal(size=(301, 12)), np.arange(12) % 2 - 0.5
    values[300] = places  # as far apart as can be: p = 1 / 924

    def exceeds(permutations: Any, wanted: Any) -> Any:
        return values @ places <= (values[:, permutations] @ places).T

    p = permutation_p(exceeds, 301, blocks, rng, 199, 999)
    for level in (0.01, 0.05, 0.2, 0.5):
        assert stats.binomtest(int((p[:300] <= level).sum()), 300, level, "greater").pvalue > 0.001
    assert p[300] < 1 / 200


def test_under_the_null_p_is_uniform() -> None:
    # Maps and masks share a centre prior but do not follow each other.
    rng = np.random.default_rng(7)
    centre = stats.norm.pdf(np.linspace(-2, 2, 16))
    aligned, apart = [], []
    for _ in range(300):
        maps = centre * rng.gamma(2, size=(40, 16))
        masks = (rng.random((1, 40, 16)) < centre).astype(float)
        strata = np.arange(40) % 3
        mass = maps / maps.sum(1, keepdims=True)
        aligned.append(exchange_p(Units(mass, masks, strata), rng, 199, 199)[0])
        clusters = np.repeat(np.arange(20), 2)
        values = rng.normal(size=20)[clusters] + rng.normal(size=40)
        levels = np.where(clusters < 6, np.arange(40) % 2, clusters % 2)
        apart.append(disparity_p(values[None], levels, clusters, rng, 199, 199)[0, 0])
    for p in (aligned, apart):
        jittered = np.array(p) - rng.random(300) / 200  # of a p that is a multiple of 1/200
        assert stats.kstest(jittered, "uniform").pvalue > 0.01


def test_planted_looks_are_nominated_and_nothing_else() -> None:
    samples = planted.samples(400, seed=1)
    found = screened(samples, pictures(samples, {"hair": 0.8}))
    nominated = found[found["p_adjusted"] < 0.05]
    assert set(nominated["region"]) == {"hair"}
    assert set(nominated["measure"]) == {"alignment"}
    assert (nominated["low"] > 0).all()


def test_a_look_for_one_subgroup_only_is_a_disparity() -> None:
    samples = planted.samples(400, seed=1)
    maps, attention = pictures(samples, {})
    women = samples.loc[samples["attribute:gender"] == "woman", "sample_id"]
    more = attention["sample_id"].isin(women) & (attention["region"] == "face")
    attention.loc[more, "rho"] *= 2.5
    found = screened(samples, (maps, attention))
    nominated = found[found["p_adjusted"] < 0.05]
    assert set(nominated["measure"]) == {"disparity"}
    assert set(nominated["region"]) == {"face"}
    woman = nominated[nominated["subgroup"] == "woman"]
    assert (woman["effect"] > 0).all()
    assert (woman["margin_effect"] > 0).all()


def test_q_is_over_the_tests_with_enough_clusters() -> None:
    samples = planted.samples(240, seed=4)
    tables = pictures(samples, {"hair": 0.3})
    policy = {"min_clusters": 30, "min_subgroup_clusters": 55}
    found = screened(samples, tables, planted.config(policy=policy))
    least = found["measure"].map({"alignment": 30, "disparity": 55})
    family = found["clusters"] >= least
    assert 0 < family.sum() < len(found)
    assert_allclose(
        found.loc[family, "p_adjusted"],
        oracle.benjamini_hochberg(found.loc[family, "p"].tolist()),
    )
    assert found.loc[~family, "p_adjusted"].isna().all()
    assert found.loc[~family, ["effect", "low", "p", "detectable"]].notna().all(axis=None)


def test_more_tests_take_more_permutations() -> None:
    samples = planted.samples(400, seed=1)
    config = planted.config(statistics={"resamples": 99})  # alone they allow no p below 0.01
    found = screened(samples, pictures(samples, {"hair": 0.8}), config)
    family = 4 * 2 * 3  # regions, classes, alignment and two subgroups
    assert found["p"].min() == 1 / (family / 0.05)
    assert (found["p_adjusted"] < 0.05).any()


def test_dead_maps_and_small_regions_are_counted() -> None:
    samples = planted.samples(120, cluster_size=1, seed=0)
    found = screened(samples, pictures(samples, {}))
    for target, region, excluded in (
        ("doctor", "tools", 1),  # the dead map
        ("nurse", "tools", 1),  # the small region
        ("nurse", "hair", 0),
    ):
        cell = row(found, measure="alignment", region=region, target_class=target)
        assert (cell["n"], cell["excluded"]) == (60 - excluded, excluded)


def test_a_region_that_is_never_large_enough_has_a_row_without_numbers() -> None:
    samples = planted.samples(60)
    maps, attention = pictures(samples, {})
    attention["measurable"] &= attention["region"] != "hair"
    cell = row(
        screened(samples, (maps, attention)),
        measure="alignment", region="hair", target_class="nurse",
    )  # fmt: skip
    assert (cell["n"], cell["clusters"], cell["excluded"]) == (0, 0, 30)
    assert np.isnan([cell["effect"], cell["p"], cell["p_adjusted"]]).all()


def test_order_of_rows_and_other_regions_change_nothing() -> None:
    samples = planted.samples(160, cluster_size=2, seed=6)
    maps, attention = pictures(samples, {"face": 0.3})
    found = screened(samples, (maps, attention))
    mixed = [table.sample(frac=1, random_state=1) for table in (samples, maps, attention)]
    assert_frame_equal(screened(mixed[0], (mixed[1], mixed[2])), found)
    without = attention[attention["region"] != "hair"]
    alone = screened(samples, (maps, without))
    kept = found[found["region"] != "hair"].reset_index(drop=True)
    assert_frame_equal(alone.drop(columns="p_adjusted"), kept.drop(columns="p_adjusted"))


def test_an_attribute_that_moves_maps_and_masks_alike_is_no_alignment() -> None:
    # Women are on the left, and so are their maps; within a gender neither follows the other.
    rng = np.random.default_rng(0)
    samples = planted.samples(400, seed=1)
    maps, attention = pictures(samples, {}, seed=1)
    woman = (samples["attribute:gender"] == "woman").to_numpy()
    masks = np.stack(maps["masks"].to_list()).reshape(-1, 4, SIDE, SIDE).copy()
    raw = rng.random((400, SIDE, SIDE))
    masks[:, 0] = rng.random((400, SIDE, SIDE))
    for values in (raw, masks[:, 0]):
        values[woman, :, :3] += 1
        values[~woman, :, 3:] += 1
    maps["map"] = list(raw.reshape(400, -1))
    maps["masks"] = list(masks.clip(0, 1).reshape(400, -1).astype(np.float16))
    found = screened(samples, (maps, attention))
    alone = screened(samples.drop(columns="attribute:gender"), (maps, attention))
    pick = {"measure": "alignment", "region": "face", "target_class": "doctor"}
    assert row(found, **pick)["p"] > 0.01
    assert row(alone, **pick)["p"] < 0.01


def test_maps_of_another_grid_are_refused() -> None:
    samples = planted.samples(10)
    maps, attention = pictures(samples, {})
    maps.at[3, "map"] = np.zeros(4, dtype=np.float32)
    with pytest.raises(RunError, match="not all of one grid with masks of 4 regions"):
        screened(samples, (maps, attention))
    twice = pd.concat([pictures(samples, {})[0]] * 2)
    with pytest.raises(RunError, match="'s00000' has two rows for its map"):
        screened(samples, (twice, attention))
