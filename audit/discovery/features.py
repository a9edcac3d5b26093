"""One pass over some audited samples: what the channels of the explained layer saw where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from audit.attribution import channels
from audit.context import Context
from audit.data.batches import Batch
from audit.evidence.intervals import Codes, Floats
from audit.geometry import coverage_to_grid
from audit.interventions.margins import margin_of
from audit.interventions.trials import seeds_of
from audit.shard import covered

Positions = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """n samples at the explained layer, for the class that each is predicted as.

    Parameters
    ----------
    positions
        ``[n]``, rows of the samples table, in the order of their ids.
    cluster
        ``[n]``, code of each sample's cluster.
    predicted
        ``[n]`` class ids.
    margin
        ``[n]``, logit of the predicted class minus the best other.
    contribution
        ``[n, C]``, weight of a channel times its mean activation: its share in the class's score
        (all of it, less the bias, for a head of global average pooling and a linear layer).
    attended
        ``[n, C]``, activations averaged with the positive map as weights; 0 where it is dead.
    maps
        ``[n, h, w]``, the positive part of Grad-CAM.
    activations
        ``[n, C, h, w]``, only where asked for.
    masks
        ``[n, R, h, w]``, part of each cell in each region; likewise.
    """

    positions: Positions
    cluster: Codes
    predicted: Positions
    margin: Floats
    contribution: Singles
    attended: Singles
    maps: Singles
    activations: Singles | None = None
    masks: Singles | None = None

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """``[n]``, which maps have positive mass."""
        alive: npt.NDArray[np.bool_] = np.any(self.maps, axis=(1, 2))
        return alive


def chosen_samples(context: Context) -> Positions:
    """Some of the audited samples, drawn by their ids: the same whatever the order of the rows."""
    audited = context.audited
    ids = context.samples["sample_id"].astype(str).to_numpy(object)[audited]
    draw = np.array(seeds_of(ids.tolist(), "discovery", context.config.seed), dtype=np.uint64)
    first = np.argsort(draw, kind="stable")[: context.config.discovery.samples]
    return audited[first[np.argsort(ids[first])]]


def read_features(
    context: Context,
    positions: Positions,
    told: Callable[[int], None] = lambda done: None,
    *,
    whole: bool = True,
) -> Features:
    """Features of some samples.

    Parameters
    ----------
    context
        Data, model, layer.
    positions
        ``[n]`` rows of usable samples.
    told
        Called with the number of samples done.
    whole
        Whether to keep activations and masks, of which memory holds ``n (C + R) h w`` numbers.
    """
    parts: list[tuple[Tensor, ...]] = []
    done = 0
    for batch in context.batches(positions):
        # Off the device at once, whose memory is not for all samples.
        parts.append(tuple(column.cpu() for column in _features(context, batch, whole=whole)))
        done += len(batch.index)
        told(done)
    columns = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    clusters = context.samples["cluster_id"].astype(str).to_numpy(object)[positions]
    return Features(
        positions,
        pd.factorize(clusters, sort=True)[0],
        columns[0],
        columns[1].astype(np.float64),
        *columns[2:],
    )


def _features(context: Context, batch: Batch, *, whole: bool) -> tuple[Tensor, ...]:
    """The columns of :class:`Features` of one batch, from its predictions on."""
    classifier = context.classifier
    seen = channels(
        classifier.module,
        classifier.prepare(batch.images),
        lambda logits: logits.argmax(1, keepdim=True),
        layer=context.layer,
        output=classifier.logits,
    )
    predicted, weights = seen.logits.argmax(1), seen.weights[:, 0]
    maps, attended = attend(seen.activations, weights)
    contribution = weights * seen.activations.mean((-2, -1))
    columns = (predicted, margin_of(seen.logits, predicted), contribution, attended, maps)
    if not whole:
        return columns
    grid = coverage_to_grid(covered(batch), (maps.shape[-2], maps.shape[-1]))
    return *columns, seen.activations, grid


def attend(activations: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The positive map ``M = relu(sum_k alpha_k A_k)``, and what it attends to.

    Parameters
    ----------
    activations
        A, ``[B, C, h, w]``.
    weights
        alpha, ``[B, C]``.

    Returns
    -------
    M ``[B, h, w]`` and ``sum_xy M A / sum_xy M``, ``[B, C]``; zero where M is.

    Examples
    --------
    >>> attend(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[1.0]]))
    (tensor([[[1., 3.]]]), tensor([[2.5000]]))
    """
    maps = torch.einsum("bc,bchw->bhw", weights, activations).relu()
    mass = maps.sum((-2, -1))[:, None]
    attended = torch.einsum("bhw,bchw->bc", maps, activations)
    return maps, torch.where(mass > 0, attended / mass, 0.0)
