"""Samples in batches at the model's input size, decoded ahead on threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.config import Input
from audit.data.dataset import Dataset
from audit.data.threads import ordered_map
from audit.errors import BadSample, DataError
from audit.geometry import masks_to_input, picture_to_input, view_of

_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """Samples for one forward pass.

    Parameters
    ----------
    index
        int64 ``[B]``, positions in ``dataset.samples``.
    images
        uint8 ``[B, 3, h, w]`` at the model's input size; in pinned memory where CUDA is.
    coverage
        float32 ``[B, R, h, w]``: part of each pixel in each region; None if loaded without masks.
    """

    index: npt.NDArray[np.int64]
    images: Tensor
    coverage: Tensor | None


def batches(
    dataset: Dataset,
    indices: Sequence[int] | npt.NDArray[np.integer],
    view_config: Input,
    *,
    batch_size: int,
    workers: int,
    with_masks: bool = True,
) -> Iterator[Batch]:
    """Batches of samples in the order of ``indices``.

    Threads decode at most two batches ahead, and shrink a picture to the model's input size at
    once, so memory does not grow with the number of samples or the size of waiting pictures.

    Parameters
    ----------
    dataset
        The samples.
    indices
        Positions in ``dataset.samples``, of samples that are not quarantined.
    view_config
        How a picture becomes the model's input.
    batch_size
        Samples in a batch; the last one may be smaller.
    workers
        Threads.
    with_masks
        Whether masks are read too.

    Raises
    ------
    DataError
        If a sample cannot be loaded.
    """

    def load(index: int) -> tuple[Tensor, Tensor | None]:
        try:
            example = dataset.load(index, with_masks=with_masks)
        except BadSample as error:
            name = dataset.samples["sample_id"].iat[index]
            raise DataError(f"sample '{name}' cannot be read: {error}") from error
        height, width = example.picture.shape[:2]
        view = view_of((height, width), view_config)
        image = torch.from_numpy(picture_to_input(example.picture, view).transpose(2, 0, 1).copy())
        coverage = torch.from_numpy(masks_to_input(example.masks, view)) if with_masks else None
        return image, coverage

    order = np.asarray(indices, dtype=np.int64)
    ahead = _BATCHES_AHEAD * batch_size
    with closing(ordered_map(load, order.tolist(), workers=workers, ahead=ahead)) as loaded:
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            images, coverages = zip(*islice(loaded, len(index)), strict=True)
            coverage = _stacked(coverages) if with_masks else None
            yield Batch(index, _stacked(images), coverage)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    stacked = torch.stack(list(tensors))
    return stacked.pin_memory() if torch.cuda.is_available() else stacked
