"""The altered pictures of a batch: every act and its placebo, ready for the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from audit.interventions.fills import fill
from audit.interventions.hashing import hashed
from audit.interventions.placebos import placebo_mask
from audit.interventions.swap import paste

REMOVAL, SWAP, SUFFICIENCY = "removal", "swap", "sufficiency"
ACT, PLACEBO = "act", "placebo"
DONOR_FILL = "donor"


@dataclass(frozen=True)
class Trial:
    """The same act on n pictures of a batch.

    Parameters
    ----------
    test, arm, fill
        As in the table ``interventions``.
    rows
        ``[n]`` int64, which pictures of the batch.
    images
        ``[n, 3, h, w]`` float in 0..1, altered.
    area
        ``[n]``, altered part of each picture.
    """

    test: str
    arm: str
    fill: str
    rows: npt.NDArray[np.int64]
    images: Tensor
    area: npt.NDArray[np.float32]


def seeds_of(sample_ids: Sequence[str], purpose: str, seed: int) -> list[int]:
    """A seed per sample that depends on nothing but its id, the purpose and the run's seed."""
    return [hashed(f"{seed}/{purpose}/{sample_id}") >> 1 for sample_id in sample_ids]


def placebos(
    kind: str, region: Tensor, avoid: Tensor, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Placebo areas ``[B, h, w]`` (bool) for regions, and ``[B]`` bool, where one fits."""
    region_masks, avoid_masks = region.cpu().numpy(), avoid.cpu().numpy()
    found = [
        placebo_mask(kind, mask, other, seed)
        for mask, other, seed in zip(region_masks, avoid_masks, seeds, strict=True)
    ]
    none = np.zeros(region_masks.shape[1:], dtype=bool)
    masks = np.stack([none if mask is None else mask for mask in found])
    fits = np.array([mask is not None for mask in found])
    return torch.from_numpy(masks).to(region.device), torch.from_numpy(fits)


def removal(
    images: Tensor,
    region: Tensor,
    avoid: Tensor,
    fills: Sequence[str],
    placebo_kind: str,
    seeds: list[int],
) -> Iterator[Trial]:
    """The region removed, and an equal area elsewhere; only where such a placebo fits."""
    placebo, fits = placebos(placebo_kind, region, avoid, seeds)
    rows = np.flatnonzero(fits.numpy())
    if len(rows) == 0:
        return
    seeds = [seeds[row] for row in rows]
    for name in fills:
        for arm, masks in ((ACT, region[rows]), (PLACEBO, placebo[rows])):
            yield _filled(REMOVAL, arm, name, rows, images[rows], masks, seeds)


def sufficiency(
    images: Tensor, core: Tensor, fills: Sequence[str], seeds: list[int], dilate: float
) -> Iterator[Trial]:
    """Core removed, with a margin around it so that its outline goes too."""
    rows = np.flatnonzero(core.flatten(1).any(1).cpu().numpy())
    if len(rows) == 0:
        return
    masks = dilated(core[rows], round(dilate * min(core.shape[-2:])))
    for name in fills:
        yield _filled(
            SUFFICIENCY, ACT, name, rows, images[rows], masks, [seeds[row] for row in rows]
        )


def swap_trial(
    arm: str,
    rows: npt.NDArray[np.int64],
    images: Tensor,
    region: Tensor,
    donor_images: Tensor,
    donor_region: Tensor,
) -> Trial:
    """The region of some pictures, ``[n, ...]``, taken from their donors."""
    return Trial(
        SWAP,
        arm,
        DONOR_FILL,
        rows,
        paste(images, region, donor_images, donor_region),
        _area(region | donor_region),
    )


def dilated(masks: Tensor, pixels: int) -> Tensor:
    """Masks ``[B, h, w]`` grown by some pixels in every direction (a square neighbourhood)."""
    if pixels < 1:
        return masks
    grown = F.max_pool2d(masks[:, None].float(), 2 * pixels + 1, stride=1, padding=pixels)
    return grown[:, 0] > 0


def _filled(
    test: str,
    arm: str,
    name: str,
    rows: npt.NDArray[np.int64],
    images: Tensor,
    masks: Tensor,
    seeds: list[int],
) -> Trial:
    return Trial(test, arm, name, rows, fill(name, images, masks, seeds), _area(masks))


def _area(masks: Tensor) -> npt.NDArray[np.float32]:
    area: npt.NDArray[np.float32] = masks.float().mean((1, 2)).cpu().numpy()
    return area
