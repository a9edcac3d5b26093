"""The numbers per sample of each check, against loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from audit.attribution import occlusion
from audit.checks.agreement import agreement
from audit.checks.alignment import cells_of, consistent_p, mass_of, units_of
from audit.checks.curves import deletion_areas, descending, shuffled
from audit.checks.localisation import box_of, box_overlap, largest_part, localisation
from audit.checks.pointing import best_threshold, pointing_credit, pointing_with_reject
from audit.checks.ranks import rank_correlation
from audit.checks.robustness import adversarial
from audit.evidence.alignment import Units, contributions, exchange_p
from tests.oracles import checks as oracle

SEEDS = st.integers(0, 2**32 - 1)


def rng_maps(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@given(SEEDS, st.booleans())
def test_rank_correlation_is_spearmans(seed: int, ties: bool) -> None:
    first, second = rng_maps(seed, 2, 3, 4, 5)
    if ties:
        first, second = first.round(), second.round()
    expected = [oracle.spearman(a, b) for a, b in zip(first.numpy(), second.numpy(), strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), expected, atol=1e-12)
    np.testing.assert_allclose(rank_correlation(second, first), expected, atol=1e-12)


def test_rank_correlation_of_a_flat_map_is_undefined() -> None:
    maps = torch.stack([torch.ones(2, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])])
    found = rank_correlation(maps, maps)
    assert np.isnan(found[0]) and found[1] == 1


def arrays(maps: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return mass_of(maps), masks.flatten(1).double().numpy()


def exchanged_p(units: Units, resamples: int) -> float:
    (p,) = exchange_p(units, np.random.default_rng(0), resamples, resamples)
    return float(p)


@given(SEEDS)
def test_alignment_is_that_of_all_permutations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = np.array([0, 0, 0, 1, 1])
    maps, masks = rng.normal(size=(5, 3, 3)), rng.random((5, 3, 3))
    maps[:, 1, 1] = 1  # none is dead
    pairs = [[oracle.share_in(map_, mask) for mask in masks] for map_ in maps]
    units = units_of(*arrays(torch.from_numpy(maps), torch.from_numpy(masks)), cells, np.arange(5))
    orders = list(oracle.within_cells(cells.tolist()))
    totals = np.array([np.mean([pairs[i][j] for i, j in enumerate(order)]) for order in orders])
    own = np.mean([pairs[i][i] for i in range(5)])
    assert contributions(units).mean() == pytest.approx(own - totals.mean())
    assert exchanged_p(units, 4000) == pytest.approx((totals >= own - 1e-9).mean(), abs=0.05)


@given(SEEDS)
def test_alignment_counts_every_cluster_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mass, masks = rng.random((2, 4, 6))
    twice = np.array([0, 0, 1, 2, 3])[rng.permutation(5)]  # the first, seen twice, is one cluster
    cells = np.array([0, 0, 1, 1])
    once = units_of(mass, masks, cells, np.arange(4))
    repeated = units_of(mass[twice], masks[twice], cells[twice], twice)
    np.testing.assert_allclose(repeated.mass, once.mass)
    np.testing.assert_allclose(repeated.masks, once.masks)
    assert (repeated.strata == once.strata).all()


def test_alignment_leaves_out_dead_maps_and_clusters_alone_in_their_cell() -> None:
    maps = torch.stack([-torch.ones(2, 2), *torch.ones(3, 2, 2)])
    mass, masks = arrays(maps, torch.ones(4, 2, 2))
    assert (mass[0] == 0).all()
    assert units_of(mass, masks, np.array([0, 0, 1, 1]), np.arange(4)).strata.size == 2
    assert units_of(mass, masks, np.zeros(4, int), np.arange(4)).strata.size == 3
    assert units_of(mass, masks, np.arange(4), np.arange(4)).strata.size == 0
    assert units_of(mass, masks, np.zeros(4, int), np.zeros(4, int)).strata.size == 0


def test_cells_are_classes_as_long_as_these_have_company() -> None:
    classes = np.array([3, 3, 5, 5])
    assert cells_of(classes, np.arange(4)).tolist() == classes.tolist()
    assert len(set(cells_of(classes, np.array([0, 0, 1, 2])).tolist())) == 1
    assert len(set(cells_of(np.arange(4), np.arange(4)).tolist())) == 1


@given(SEEDS)
def test_a_map_alike_for_all_samples_is_not_aligned(seed: int) -> None:
    map_, masks = rng_maps(seed, 1, 4, 4).abs(), rng_maps(seed + 1, 12, 4, 4).abs()
    units = units_of(*arrays(map_.expand(12, -1, -1), masks), np.arange(12) % 2, np.arange(12))
    assert abs(contributions(units).mean()) < 1e-12
    assert exchanged_p(units, 99) == 1


def test_draws_that_disagree_are_no_alignment() -> None:
    assert consistent_p(np.array([0.3, -0.2, 0.1, -0.3, 0.2])) > 0.3
    assert consistent_p(np.full(5, 0.1)) == 0
    assert consistent_p(np.full(5, -0.1)) == 1
    assert np.isnan(consistent_p(np.array([0.1])))


@given(SEEDS)
def test_deletion_areas_are_those_of_a_loop(seed: int) -> None:
    pictures, removed = rng_maps(seed, 2, 2, 3, 6, 8)
    weights = rng_maps(seed + 1, 3, 6, 8)

    def score_of(batch: Tensor) -> Tensor:
        return (batch * weights).sum((1, 2, 3)).tanh()

    maps = rng_maps(seed + 2, 2, 3, 4)
    orders = [descending(maps), descending(maps).flip(1), shuffled(2, 12, [1, 2])]
    areas = deletion_areas(score_of, pictures, removed, orders, (3, 4), steps=5)
    for row, order in zip(areas, orders, strict=True):
        for i in range(2):
            expected = oracle.deletion_area(
                lambda altered: float(score_of(torch.from_numpy(altered)[None])[0]),
                pictures[i].numpy(),
                removed[i].numpy(),
                order[i].tolist(),
                (3, 4),
                5,
            )
            assert float(row[i]) == pytest.approx(expected)


@given(SEEDS)
def test_of_a_linear_model_the_true_order_deletes_fastest(seed: int) -> None:
    importance = rng_maps(seed, 1, 4, 4)
    pictures = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    weights = importance.repeat_interleave(2, 1).repeat_interleave(2, 2)

    def score_of(batch: Tensor) -> Tensor:
        return (batch.mean(1) * weights).sum((1, 2))

    first = descending(importance)
    orders = [first, shuffled(1, 16, [seed]), first.flip(1)]
    fast, chance, slow = deletion_areas(
        score_of, pictures, torch.zeros_like(pictures), orders, (4, 4)
    )[:, 0].tolist()
    assert fast <= chance <= slow


def test_shuffled_orders_are_of_the_seed_alone() -> None:
    orders = shuffled(3, 9, [5, 6, 5])
    assert (orders[0] == orders[2]).all() and (orders[0] != orders[1]).any()
    assert (orders.sort(dim=1).values == torch.arange(9)).all()


def test_agreement_with_occlusion_of_a_linear_model_is_perfect() -> None:
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    weights = rng_maps(3, 20, 20).float()

    def scores_of(batch: Tensor) -> Tensor:
        return (batch.sum(1) * weights).sum((1, 2))[:, None]

    hidden = occlusion(scores_of, images, positions=5)[:, 0]
    np.testing.assert_allclose(agreement(scores_of, images, hidden), 1)
    np.testing.assert_allclose(agreement(scores_of, images, -hidden), -1)
    finer = hidden.repeat_interleave(2, 1).repeat_interleave(2, 2)  # pooled back
    assert (agreement(scores_of, images, finer) > 0.99).all()


def test_pointing_gives_a_cell_half_in_core_half_a_hit() -> None:
    maps = torch.tensor([[[0.0, 9.0]], [[5.0, 5.0]], [[-1.0, 0.0]]])
    core = torch.tensor([[[1.0, 0.5]]]).expand(3, -1, -1)
    credit = pointing_credit(maps, core)
    assert credit[:2].tolist() == [0.5, 0.75]
    assert np.isnan(credit[2])


@given(SEEDS, st.integers(1, 12), st.booleans())
def test_best_threshold_is_that_of_trying_all(seed: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    peaks = rng.integers(0, 3, (n, 2)).astype(float) if ties else rng.random((n, 2))
    credit, present = rng.random((n, 2)), rng.random((n, 2)) < 0.5
    best = max(oracle.hits_with_reject(credit, peaks, present, t) for t in [*peaks.ravel(), np.inf])
    chosen = best_threshold(credit, peaks, present)
    assert oracle.hits_with_reject(credit, peaks, present, chosen) == pytest.approx(best)


def test_rejection_by_a_peak_that_tells_is_always_a_hit() -> None:
    n = 40
    present = np.tile([True, False], (n, 1))
    peaks = np.where(present, 2.0, 1.0) + np.random.default_rng(0).random((n, 2)) / 2
    hits = pointing_with_reject(
        present.astype(float), peaks, present, np.arange(n), np.random.default_rng(1)
    )
    assert (hits == 1).all()  # midway between 1.5 and 2, whichever half chose


def test_a_sample_does_not_choose_its_own_threshold() -> None:
    n = 200
    rng = np.random.default_rng(0)
    present = np.tile([True, False], (n, 1))
    credit, peaks = np.zeros((n, 2)), rng.random((n, 2))
    # Nothing can be pointed at, so all are rejected: half of the maps are hits, no more.
    hits = pointing_with_reject(credit, peaks, present, np.arange(n), rng)
    assert hits.mean() <= 0.5


@given(SEEDS)
def test_largest_part_and_boxes_are_those_of_flooding(seed: int) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < 0.45
    part = largest_part(mask)
    expected = oracle.largest_part(mask)
    assert part.sum() == expected.sum()
    assert not mask.any() or (oracle.largest_part(part) == part).all()
    if mask.any() and expected.any():
        one, other = box_of(part), box_of(mask)
        assert box_overlap(one, other) == pytest.approx(oracle.box_overlap(one, other))


def test_localisation_of_a_map_on_core_and_of_one_beside_it() -> None:
    core = torch.zeros(4, 16, 16)
    core[:3, 8:, 8:] = 1
    maps = torch.zeros(4, 2, 2)
    maps[0, 1, 1] = maps[1, 0, 0] = maps[3, 0, 0] = 1.0
    errors, overlaps = localisation(maps, core)
    assert errors[:2].tolist() == [0.0, 1.0]
    assert overlaps[0] > 0.5 > overlaps[1]
    assert np.isnan(errors[2:]).all() and np.isnan(overlaps[2:]).all()  # dead; no core


@given(SEEDS, st.integers(1, 6))
def test_adversary_of_a_linear_model_goes_as_far_as_it_may(seed: int, steps: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    with torch.no_grad():
        model[1].weight.copy_(rng_maps(seed, 2, 12))
    pictures = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    classes = torch.tensor([1])
    changed = adversarial(model, pictures, classes, 0.1, steps)
    pull = (model[1].weight[1] - model[1].weight[0]).sign().reshape(1, 3, 2, 2)
    torch.testing.assert_close(changed, pictures - 0.1 * pull)


def test_adversary_stays_in_the_range_of_pixels() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    pictures = torch.zeros(2, 3, 2, 2)
    pictures[1] = 1
    changed = adversarial(model, pictures, torch.tensor([0, 1]), 0.2, 3)
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed - pictures).abs().max() <= 0.2 + 1e-6
