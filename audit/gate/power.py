"""How many independent samples would decide an open finding, if its effects stay."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from audit.config import Audit
from audit.gate.findings import SWAP

Floats = NDArray[np.float64]

POWER = 0.80


def clusters_to_decide(
    rows: pd.DataFrame, fail: float, clear: float, config: Audit
) -> float | None:
    """Clusters at which four of five audits would decide, or None where no number would.

    A limit lies as far from its effect as the standard error is large, which shrinks with the
    square root of the clusters. To clear, every act's upper limit must come below the passing
    effect; to confirm, the adjusted p of every act must come below alpha, and the lower limit
    above the failing effect, by every fill or by the swap. The cheaper of the two counts.

    Parameters
    ----------
    rows
        One row of evidence per act of the claim.
    fail, clear
        Effect above which it is reliance, and the one that must be ruled out.
    config
        The audit: levels, and the fewest clusters.
    """
    z = norm.ppf(config.statistics.confidence)
    effect, upper, lower, clusters = (
        rows[name].to_numpy(np.float64)
        for name in ("effect", "upper_limit", "lower_limit", "clusters")
    )
    to_clear = _clusters(clusters, upper - effect, clear - effect, z).max()
    by_limit = _clusters(clusters, effect - lower, effect - fail, z)
    swapped = (rows["act"] == SWAP).to_numpy()
    nearer = min(by_limit[acts].max() for acts in (~swapped, swapped) if acts.any())
    to_confirm = max(nearer, _for_significance(rows, config.policy.alpha).max())
    if (effect <= 0).any():
        to_confirm = math.inf
    needed = float(min(to_clear, to_confirm))
    return max(math.ceil(needed), config.policy.min_clusters) if math.isfinite(needed) else None


def _clusters(clusters: Floats, reach: Floats, room: Floats, z: float) -> Floats:
    """Clusters at which limits that reach so far would keep within the room left to them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shrinking = reach * (1 + norm.ppf(POWER) / z) / room
    return np.where(room > 0, clusters * np.square(shrinking), math.inf)


def _for_significance(rows: pd.DataFrame, alpha: float) -> Floats:
    """Clusters at which each act's adjusted p would be below alpha."""
    p, adjusted = (rows[name].to_numpy(np.float64) for name in ("p", "p_adjusted"))
    now, wanted = norm.isf(p), norm.isf(alpha * p / adjusted)
    with np.errstate(divide="ignore", invalid="ignore"):
        shrinking = (wanted + norm.ppf(POWER)) / now
    needed = rows["clusters"].to_numpy(np.float64) * np.square(shrinking)
    needed[adjusted < alpha] = 0.0
    return np.where((now > 0) | (adjusted < alpha), needed, math.inf)
