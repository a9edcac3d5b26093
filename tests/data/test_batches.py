"""Batches: the same as single samples, in order, bounded in memory."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from audit.config import Input
from audit.data import batches
from audit.data.threads import ordered_map
from audit.errors import DataError
from audit.geometry import masks_to_input, picture_to_input, view_of
from tests.data.conftest import Fixture, codes, picture

VIEW = Input(size=(12, 12), resize="crop", shorter_side=16)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_batches_equal_single_samples(tiny: Fixture, batch_size: int, workers: int) -> None:
    Image.fromarray(picture(2, 50, 33)).save(tiny.folder / tiny.rows[2]["path"])
    Image.fromarray(codes(50, 33)).save(tiny.folder / tiny.rows[2]["mask"])
    dataset = tiny.open()
    order = [5, 2, 0, 7, 2, 1, 3]

    made = list(batches(dataset, order, VIEW, batch_size=batch_size, workers=workers))

    assert np.concatenate([batch.index for batch in made]).tolist() == order
    assert [len(batch.index) for batch in made[:-1]] == [batch_size] * (len(made) - 1)
    images = torch.cat([batch.images for batch in made])
    coverage = torch.cat([batch.coverage for batch in made])
    assert images.shape == (7, 3, 12, 12)
    assert images.dtype == torch.uint8
    assert coverage.dtype == torch.float32
    for position, index in enumerate(order):
        example = dataset.load(index)
        view = view_of(example.picture.shape[:2], VIEW)
        expected = picture_to_input(example.picture, view).transpose(2, 0, 1)
        np.testing.assert_array_equal(images[position], expected)
        np.testing.assert_array_equal(coverage[position], masks_to_input(example.masks, view))


def test_without_masks_no_mask_is_read(tiny: Fixture) -> None:
    for path in (tiny.folder / "masks").iterdir():
        path.unlink()
    (batch,) = batches(tiny.open(), range(8), VIEW, batch_size=8, workers=2, with_masks=False)
    assert batch.coverage is None
    assert batch.images.shape == (8, 3, 12, 12)


def test_no_indices_give_no_batches(tiny: Fixture) -> None:
    assert list(batches(tiny.open(), [], VIEW, batch_size=4, workers=2)) == []


def test_a_sample_that_went_bad_is_named(tiny: Fixture) -> None:
    dataset = tiny.open()
    (tiny.folder / tiny.rows[4]["path"]).unlink()
    with pytest.raises(DataError, match="sample 'sample-4' cannot be read: missing image"):
        list(batches(dataset, range(8), VIEW, batch_size=4, workers=2))


def test_batches_look_at_most_two_batches_ahead(tiny: Fixture) -> None:
    dataset = tiny.open()
    loaded = Counter()

    def counted(row, frame):
        loaded.add()
        return dataset.read_regions(row, frame)

    counting = replace(dataset, read_regions=counted)
    order = list(range(8)) * 5
    taken = 0
    for batch in batches(counting, order, VIEW, batch_size=2, workers=3):
        taken += len(batch.index)
        assert loaded.reaches(min(taken + 4, len(order)))
        assert loaded.value <= taken + 4


def test_leaving_early_stops_the_threads(tiny: Fixture) -> None:
    before = threading.active_count()
    stream = batches(tiny.open(), list(range(8)) * 50, VIEW, batch_size=2, workers=3)
    next(stream)
    stream.close()
    assert threading.active_count() == before


class Counter:
    """Counts across threads; a test can wait for a count."""

    def __init__(self) -> None:
        self.value = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        with self._changed:
            self.value += 1
            self._changed.notify_all()

    def reaches(self, value: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.value >= value, timeout=20)


def test_ordered_map_keeps_the_order_whichever_is_ready_first() -> None:
    second_is_done = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(20)
        if item == 1:
            second_is_done.set()
        return item * 10

    assert list(ordered_map(slow_first, range(6), workers=2, ahead=4)) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("ahead", [1, 2, 5, 100])
def test_ordered_map_runs_ahead_just_so_far(ahead: int) -> None:
    started = Counter()

    def work(item: int) -> int:
        started.add()
        return item

    for taken, _ in enumerate(ordered_map(work, range(30), workers=3, ahead=ahead), 1):
        assert started.reaches(min(taken + ahead, 30))
        assert started.value <= taken + ahead


def test_ordered_map_raises_where_the_result_would_have_come() -> None:
    results = ordered_map(lambda item: 1 // (2 - item), range(5), workers=2, ahead=4)
    assert next(results) == 0
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
