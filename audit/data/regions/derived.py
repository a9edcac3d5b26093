"""Regions made from annotated ones."""

from __future__ import annotations

import numpy as np

from audit.config import Regions
from audit.data.regions.base import Masks


def with_derived(annotated: Masks, config: Regions) -> Masks:
    """Annotated masks ``[A, H, W]`` followed by the derived ones, as in ``config.names``."""
    order = {name: index for index, name in enumerate(config.annotated)}
    made = []
    for derived in config.derived.values():
        members = [order[name] for name in derived.union or derived.outside or []]
        union = annotated[members].any(axis=0)
        made.append(union if derived.union is not None else ~union)
    return np.concatenate([annotated, np.stack(made)]) if made else annotated
