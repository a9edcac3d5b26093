"""The patch that a map points at, taken away: against a placebo of the same area elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from audit.context import Context
from audit.data.batches import Batch
from audit.discovery.features import Features
from audit.discovery.groups import Indices
from audit.evidence.intervals import Floats
from audit.interventions.margins import margin_of
from audit.interventions.trials import ACT, removal, seeds_of
from audit.shard import covered

PATCH = 0.5  # cells of at least this part of the map's maximum,
LARGEST = 0.25  # and of those the strongest in this part of the grid: a placebo needs room


@dataclass(frozen=True)
class Outcomes:
    """What became of m samples without their patch; arms are act and placebo.

    Parameters
    ----------
    fits
        ``[m]``, whether a placebo fits; the other numbers of those it does not fit are NaN.
    area
        ``[m]``, part of the picture in the patch.
    overlap
        ``[m, R]``, part of the patch in each region.
    elsewhere
        ``[m]``, part of the patch in no annotated region (derived ones may be all the rest).
    flipped
        ``[fills, arms, m]``, 1 where the answer changed.
    margin
        ``[fills, arms, m]``, margin of the class predicted before.
    """

    fits: npt.NDArray[np.bool_]
    area: Floats
    overlap: Floats
    elsewhere: Floats
    flipped: Floats
    margin: Floats


def patch_of(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels of the strongest cells of a map: :data:`PATCH` of its maximum, or more.

    They are no more than :data:`LARGEST` of the grid (but one cell at least; equal ones may add).

    Parameters
    ----------
    maps
        ``[B, h, w]``, not negative. A dead map has no patch.
    size
        Height and width in pixels.

    Returns
    -------
    ``[B, height, width]`` bool.

    Examples
    --------
    >>> patch_of(torch.tensor([[[0.2, 1.0]]]), (1, 4))
    tensor([[[False, False,  True,  True]]])
    """
    cells = strongest(maps)
    return F.interpolate(cells[:, None].float(), size=size, mode="nearest-exact")[:, 0] > 0


def strongest(maps: Tensor) -> Tensor:
    """The cells ``[B, h, w]`` (bool) of the patch of maps ``[B, h, w]``; see :func:`patch_of`."""
    peak = maps.amax((-2, -1), keepdim=True)
    most = max(1, int(LARGEST * maps.shape[-2] * maps.shape[-1]))
    weakest = maps.flatten(1).topk(most, dim=1).values[:, -1][:, None, None]
    return (maps >= torch.maximum(PATCH * peak, weakest)) & (peak > 0)


def remove_patches(
    context: Context,
    features: Features,
    members: Indices,
    told: Callable[[int], None] = lambda done: None,
) -> Outcomes:
    """Remove each member's patch with every fill, and as much elsewhere outside core.

    Parameters
    ----------
    context
        Data, model, fills.
    features
        For the maps.
    members
        ``[m]`` places in the features.
    told
        Called with the number of samples done.
    """
    fills, m = context.config.interventions.fills, len(members)
    outcomes = Outcomes(
        np.zeros(m, dtype=np.bool_),
        np.full(m, np.nan),
        np.full((m, len(context.config.regions.names)), np.nan),
        np.full(m, np.nan),
        *(np.full((len(fills), 2, m), np.nan) for _ in range(2)),
    )
    done = 0
    for batch in context.batches(features.positions[members]):
        rows = np.arange(done, done + len(batch.index))
        _remove_in_batch(context, features, batch, members[rows], rows, outcomes)
        done += len(rows)
        told(done)
    return outcomes


def _remove_in_batch(
    context: Context,
    features: Features,
    batch: Batch,
    members: Indices,
    rows: Indices,
    outcomes: Outcomes,
) -> None:
    """Fill the rows of the outcomes that belong to a batch."""
    fills: list[str] = [*context.config.interventions.fills]
    classes = context.classifier.classes
    coverage, device = covered(batch), batch.images.device
    predicted = torch.from_numpy(features.predicted[members]).to(device)
    patches = patch_of(
        torch.from_numpy(features.maps[members]).to(device),
        (batch.images.shape[-2], batch.images.shape[-1]),
    )
    avoid = torch.stack(
        [
            context.avoid_mask(coverage[i : i + 1], classes[code])[0]
            for i, code in enumerate(features.predicted[members])
        ]
    )
    size = patches.sum((1, 2)).clamp(min=1)
    inside = torch.einsum("brhw,bhw->br", coverage, patches.to(coverage)) / size[:, None]
    bare = 1 - coverage[:, : len(context.config.regions.annotated)].amax(1)
    outcomes.area[rows] = patches.float().mean((1, 2)).cpu().numpy()
    outcomes.overlap[rows] = inside.cpu().numpy()
    outcomes.elsewhere[rows] = ((bare * patches).sum((1, 2)) / size).cpu().numpy()
    ids = context.samples["sample_id"].iloc[batch.index].astype(str).tolist()
    seeds = seeds_of(ids, "discovery", context.config.seed)
    for trial in removal(
        batch.images.float() / 255,
        patches,
        avoid,
        fills,
        context.config.interventions.placebo,
        seeds,
    ):
        logits, own = context.forward(trial.images), predicted[torch.from_numpy(trial.rows)]
        at = (fills.index(trial.fill), int(trial.arm != ACT), rows[trial.rows])
        outcomes.fits[at[2]] = True
        outcomes.flipped[at] = (logits.argmax(1) != own).cpu().numpy()
        outcomes.margin[at] = margin_of(logits, own).cpu().numpy()
