"""Rank correlation of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

Floats = NDArray[np.float64]


def rank_correlation(first: Tensor, second: Tensor) -> Floats:
    """Spearman's rank correlation of each map with its partner.

    Parameters
    ----------
    first, second
        ``[n, h, w]``, raw and signed.

    Returns
    -------
    ``[n]`` float64, -1 to 1; NaN where one of the two is the same everywhere.

    Examples
    --------
    >>> import torch
    >>> maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> rank_correlation(maps, maps.exp()), rank_correlation(maps, -maps)
    (array([1.]), array([-1.]))
    """
    a, b = (_centred_ranks(maps) for maps in (first, second))
    spread = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    found: Floats = np.full(len(a), np.nan)
    np.divide((a * b).sum(1), spread, out=found, where=spread > 0)
    return found


def _centred_ranks(maps: Tensor) -> Floats:
    ranks = stats.rankdata(maps.flatten(1).cpu().double().numpy(), axis=1)
    centred: Floats = ranks - ranks.mean(axis=1, keepdims=True)
    return centred
