"""The swap: a region from a matched donor of the other subgroup, against one of the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from audit.config import Swap
from audit.interventions.hashing import hashed

NO_DONOR = -1


@dataclass(frozen=True)
class Donors:
    """For each sample the positions of its donors; ``NO_DONOR`` where none matches.

    Parameters
    ----------
    other
        ``[N]`` int64, a donor of another subgroup that matches in all named columns.
    same
        ``[N]`` int64, a donor of the same subgroup (the control).
    """

    other: npt.NDArray[np.int64]
    same: npt.NDArray[np.int64]


def choose_donors(
    rows: pd.DataFrame,
    clusters: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.bool_],
    swap: Swap,
) -> Donors:
    """Choose donors among the eligible rows: deterministic, and spread over all that match.

    No donor is of the sample's own cluster: another picture of the same patient would make the
    control too gentle.

    Parameters
    ----------
    rows
        One row per sample with the columns that ``swap`` names and ``sample_id``; texts.
    clusters
        ``[N]``, code of each row's cluster.
    eligible
        ``[N]`` bool, which rows may give and receive.
    swap
        Attribute and matching columns.
    """
    positions = np.flatnonzero(eligible)
    positions = positions[np.argsort(clusters[positions], kind="stable")]
    pool, own = rows.iloc[positions], clusters[positions]
    subgroup = pool[swap.attribute].astype(str).to_numpy()
    other = np.full(len(rows), NO_DONOR, dtype=np.int64)
    same = np.full(len(rows), NO_DONOR, dtype=np.int64)
    for chosen, columns, want_same in (
        (other, swap.match, False),
        (same, swap.control_match or swap.match, True),
    ):
        for group in pool.groupby(columns, sort=True).indices.values():
            for value in np.unique(subgroup[group]):
                members = group[subgroup[group] == value]
                fits = members if want_same else group[subgroup[group] != value]
                clusters_that_fit = own[fits]
                for i in members:
                    donor = _pick(fits, clusters_that_fit, own[i], str(pool["sample_id"].iloc[i]))
                    if donor is not None:
                        chosen[positions[i]] = positions[donor]
    return Donors(other, same)


def _pick(
    fits: npt.NDArray[np.int64], clusters: npt.NDArray[np.int64], own: int, sample_id: str
) -> int | None:
    """One of the donors that fit, of another cluster than one's own (``clusters`` is sorted)."""
    first, end = np.searchsorted(clusters, [own, own + 1]).tolist()
    count = len(fits) - (end - first)
    if count == 0:
        return None
    pick = hashed(sample_id) % count
    return int(fits[pick if pick < first else pick + (end - first)])


def paste(images: Tensor, masks: Tensor, donor_images: Tensor, donor_masks: Tensor) -> Tensor:
    """Pictures ``[B, 3, h, w]``, the union of both masks ``[B, h, w]`` taken from the donors."""
    return torch.where((masks | donor_masks)[:, None], donor_images, images)
