"""Monte-Carlo permutation tests: units permuted within blocks, many statistics at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.evidence.intervals import Codes, Floats

MOST_RESAMPLES = 20_000  # for p, however large the family

Bools = NDArray[np.bool_]
Job = TypeVar("Job")
Result = TypeVar("Result")

TIE = 1e-12  # statistics this close, relative to the largest possible, are equal
_BATCH_CELLS = 2**18  # permuted values held at once
_ENOUGH = 20  # exceedances after which more permutations would not make a p small


class Blocks:
    """Units that may change places with each other: those of the same block.

    Parameters
    ----------
    codes
        [n] block of each unit.

    Examples
    --------
    >>> blocks = Blocks(np.array([0, 1, 0]))
    >>> blocks.permutations(1, np.random.default_rng(0))[0, 1]
    np.int64(1)
    """

    def __init__(self, codes: Codes) -> None:
        self.size = codes.size
        order = np.argsort(codes, kind="stable")
        _, starts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
        self._places = [  # [blocks, size] of the blocks of one size, so that they are drawn at once
            order[starts[sizes == size][:, None] + np.arange(size)]
            for size in np.unique(sizes)
            if size > 1
        ]

    def permutations(self, count: int, rng: np.random.Generator) -> Codes:
        """[count, n] for each unit, the unit that takes its place."""
        drawn = np.tile(np.arange(self.size), (count, 1))
        for places in self._places:
            start, size = int(places[0, 0]), places.shape[1]
            if len(places) == 1 and places[0, -1] == start + size - 1:  # as below, but faster
                one = np.broadcast_to(places[0], (count, size))
                drawn[:, start : start + size] = rng.permuted(one, axis=1)
                continue
            every = np.broadcast_to(places, (count, *places.shape))
            drawn[:, places] = rng.permuted(every, axis=2)
        return drawn


class Subset:
    """Which of exchangeable units take some places: all there is to draw where the rest are alike.

    Parameters
    ----------
    units, places
        How many there are; far fewer places than units, else :class:`Blocks` is as fast.

    Examples
    --------
    >>> chosen = Subset(1_000_000, 3).permutations(2, np.random.default_rng(0))
    >>> chosen.shape, len(set(chosen[0].tolist()))
    ((2, 3), 3)
    """

    def __init__(self, units: int, places: int) -> None:
        self.size = places
        self._units = units

    def permutations(self, count: int, rng: np.random.Generator) -> Codes:
        """[count, places] units that take the places, without repetition."""
        rows = [rng.choice(self._units, self.size, False, shuffle=False) for _ in range(count)]
        return np.stack(rows)


def side_by_side(function: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """Results in the order of the jobs, which run in threads; each has random numbers of its own.

    Drawing permutations and summing over them leaves Python alone, so that threads pay.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, jobs))


def permutation_p(
    exceeds: Callable[[Codes, Bools], Bools],
    tests: int,
    blocks: Blocks | Subset,
    rng: np.random.Generator,
    resamples: int,
    most: int,
) -> Floats:
    """p-values of several statistics of the same units, from the same permutations.

    p = (1 + #{T* >= T}) / (B + 1) with B = ``resamples``; statistics that fewer than 20 of those
    exceed go on to B = ``most``, as their p may be too coarse for a large family of tests. Such a
    p is as valid as one of a fixed B: a statistic goes on only if its p would be smaller than that
    of any which stops.

    Parameters
    ----------
    exceeds
        From permutations [b, n] and what is wanted [tests] to [b, tests], whether the permuted
        statistic is as extreme as the one seen; anything where it is not wanted.
    tests
        Number of statistics.
    blocks
        The units and what they may change places with, or those that take the places that matter.
    rng
        Source of the permutations.
    resamples, most
        Permutations for every test, and for those that need more.
    """
    batch = max(1, _BATCH_CELLS // max(blocks.size, 1))

    def count(total: int, wanted: Bools) -> NDArray[np.int64]:
        sizes = (min(batch, total - start) for start in range(0, total, batch))
        parts = (exceeds(blocks.permutations(size, rng), wanted).sum(axis=0) for size in sizes)
        extreme: NDArray[np.int64] = np.sum(list(parts), axis=0, dtype=np.int64)
        return extreme

    extreme = count(resamples, np.ones(tests, dtype=np.bool_))
    p: Floats = (1 + extreme) / (resamples + 1)
    few = extreme < _ENOUGH
    if most > resamples and few.any():
        extreme = extreme + count(most - resamples, few)
        p[few] = ((1 + extreme) / (most + 1))[few]
    return p
