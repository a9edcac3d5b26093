"""Which pictures are drawn, and that memory and decoding give the same ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.config import Input
from audit.models.feed import Feed, balanced_order, even_batch_size
from tests.models.toys import SIDE, squares


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_classes_are_drawn_equally_often_and_samples_in_turns(counts: list[int], seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    order = balanced_order(targets, len(counts), np.random.default_rng(seed))
    assert len(order) == len(targets)
    drawn = np.bincount(targets[order], minlength=len(counts))
    assert np.ptp(drawn) <= 1
    times = np.bincount(order, minlength=len(targets))
    for index in range(len(counts)):
        assert np.ptp(times[targets == index]) <= 1


def test_equal_classes_are_each_drawn_once() -> None:
    targets = np.array([0, 1, 0, 1, 2, 2])
    order = balanced_order(targets, 3, np.random.default_rng(0))
    assert sorted(order) == [0, 1, 2, 3, 4, 5]


@given(n=st.integers(1, 5000), batch_size=st.integers(1, 300))
def test_batches_are_even(n: int, batch_size: int) -> None:
    size = even_batch_size(n, batch_size)
    batches = -(-n // batch_size)
    assert size <= batch_size
    assert -(-n // size) <= batches
    assert size * batches - n < batches  # a last batch lacks less than one per batch


def feed(regions: list[int], memory: int) -> Feed:
    dataset = squares(20, 4)
    targets = np.arange(24) % 2
    view = Input(size=(SIDE, SIDE))
    return Feed(dataset, view, targets, regions, batch_size=5, workers=2, memory=memory)


@pytest.mark.parametrize("regions", [[], [0]])
def test_memory_and_decoding_give_the_same_pictures(regions: list[int]) -> None:
    positions = np.array([3, 3, 17, 0, 9, 21, 1])
    held, decoded = feed(regions, memory=1 << 20), feed(regions, memory=0)
    for source in (held, decoded):
        source.hold(np.arange(22))
    before = list(held(positions))
    del held.dataset.samples["label"]  # nothing can be decoded any more
    assert [len(batch.targets) for batch in before] == [5, 2]
    for one, other in zip(held(positions), decoded(positions), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
        if regions:
            assert one.painted is not None and other.painted is not None
            assert torch.equal(one.painted, other.painted)
        else:
            assert one.painted is None and other.painted is None


def test_more_pictures_than_memory_are_decoded_each_time() -> None:
    source = feed([], memory=20 * 3 * SIDE * SIDE - 1)
    source.hold(np.arange(20))
    del source.dataset.samples["label"]
    with pytest.raises(KeyError):
        list(source(np.arange(3)))


def test_painted_pixels_are_those_of_the_regions() -> None:
    everything = next(iter(feed([0, 1], memory=0)(np.arange(2))))
    assert everything.painted is not None and bool(everything.painted.all())
    square = next(iter(feed([0], memory=0)(np.arange(2))))
    assert square.painted is not None
    assert square.painted.sum(dim=(1, 2)).tolist() == [100, 100]
