"""Training pictures in batches: which ones are drawn, and how they come to the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit import config
from audit.data.batches import batches
from audit.data.dataset import Dataset

Positions = npt.NDArray[np.int64]

# Up to here pictures are kept once decoded: decoding takes longer than a small model's epoch.
MEMORY = 1 << 30


@dataclass(frozen=True)
class Pictures:
    """A batch: images uint8 ``[B, 3, h, w]``, painted bool ``[B, h, w]``, targets int64 ``[B]``."""

    images: Tensor
    painted: Tensor | None
    targets: Tensor


class Feed:
    """Batches of pictures of a data set, from memory where they fit, else decoded each time.

    Parameters
    ----------
    dataset, input
        Where pictures come from, and how they become the model's input.
    targets
        Class index of each of the data set's samples.
    regions
        Indices of the regions that ``Pictures.painted`` unites; none: it is None.
    batch_size, workers
        Size of batches (the last may be smaller) and number of decoding threads.
    memory
        Bytes that decoded pictures may take.
    """

    def __init__(
        self,
        dataset: Dataset,
        input: config.Input,
        targets: Positions,
        regions: list[int],
        *,
        batch_size: int,
        workers: int,
        memory: int = MEMORY,
    ) -> None:
        self.dataset = dataset
        self.input = input
        self.targets = targets
        self.regions = regions
        self.batch_size = batch_size
        self.workers = workers
        self.memory = memory
        self._rows: Positions | None = None  # of each sample, in what is held in memory
        self._held: Pictures | None = None

    def hold(self, positions: Positions) -> None:
        """Decode these samples now and keep them, if there is memory for them."""
        height, width = self.input.size
        channels = 4 if self.regions else 3
        if len(positions) * channels * height * width > self.memory:
            return
        images = torch.empty(len(positions), 3, height, width, dtype=torch.uint8)
        painted = torch.empty(len(positions), height, width, dtype=torch.bool)
        start = 0
        for part in self._decoded(positions):
            stop = start + len(part.images)
            images[start:stop] = part.images
            if part.painted is not None:
                painted[start:stop] = part.painted
            start = stop
        targets = torch.from_numpy(self.targets[positions])
        self._held = Pictures(images, painted if self.regions else None, targets)
        self._rows = np.full(len(self.targets), -1, dtype=np.int64)
        self._rows[positions] = np.arange(len(positions))

    def __call__(self, positions: Positions) -> Iterator[Pictures]:
        """Batches of these samples, in their order."""
        if self._held is None or self._rows is None:
            yield from self._decoded(positions)
            return
        rows = torch.from_numpy(self._rows[positions])
        for chosen in torch.split(rows, self.batch_size):
            painted = None if self._held.painted is None else self._held.painted[chosen]
            yield Pictures(self._held.images[chosen], painted, self._held.targets[chosen])

    def _decoded(self, positions: Positions) -> Iterator[Pictures]:
        for batch in batches(
            self.dataset,
            positions,
            self.input,
            batch_size=self.batch_size,
            workers=self.workers,
            with_masks=bool(self.regions),
        ):
            painted = None
            if batch.coverage is not None and self.regions:
                painted = (batch.coverage[:, self.regions] > 0.5).any(dim=1)
            yield Pictures(batch.images, painted, torch.from_numpy(self.targets[batch.index]))


def balanced_order(targets: Positions, n_classes: int, rng: np.random.Generator) -> Positions:
    """As many draws as there are samples, with classes drawn equally often (to one draw).

    A class's samples come in random order, and again only when all had their turn.

    Parameters
    ----------
    targets
        Class index of each sample, ``[N]``; every class occurs.
    n_classes
        Number of classes.
    rng
        Source of randomness.

    Returns
    -------
    Indices into ``targets``, ``[N]``, shuffled.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> order = balanced_order(np.array([0, 0, 0, 0, 0, 1]), 2, rng)
    >>> np.bincount(np.array([0, 0, 0, 0, 0, 1])[order])
    array([3, 3])
    """
    n = len(targets)
    classes = rng.permutation(n_classes)  # who gets the draws left over
    drawn = []
    for rank, index in enumerate(classes):
        members = np.flatnonzero(targets == index)
        quota = n // n_classes + (rank < n % n_classes)
        rounds = [rng.permutation(members) for _ in range(-(-quota // len(members)))]
        drawn += [np.concatenate(rounds)[:quota]] if rounds else []
    return rng.permutation(np.concatenate(drawn))


def even_batch_size(n: int, batch_size: int) -> int:
    """Largest size up to ``batch_size`` for which the last batch is not a small rest.

    Examples
    --------
    >>> even_batch_size(65, 64)
    33
    """
    return -(-n // -(-n // batch_size))
