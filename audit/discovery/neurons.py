"""Neurons by name: which annotated region each important channel fires on.

The Grad-CAM paper's section 7, with the names of network dissection (Bau et al., arXiv
1704.05796): a channel fires where it exceeds a threshold of its own, the top quantile of its
activations over the data set, and is named by the intersection over union with a region.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.config import Audit
from audit.discovery.features import Features, Singles
from audit.evidence.intervals import Floats, distinct, equal_weights
from audit.tables import NEURONS, UNNAMED, to_arrow

# Bau et al. take 0.005 of upsampled pixels, over concepts that are rare in their pictures. Of a
# grid that would leave a few cells per hundred pictures, and cap the IoU of a region that covers a
# tenth of each at 0.05.
FIRES = 0.02

# Loevinger's H that earns a name. An IoU alone has no floor that suits all regions: at 2 % of the
# cells it cannot exceed 0.02 / area, and by chance it grows with the area.
NAMED = 0.3


def thresholds(activations: Singles) -> Singles:
    """The activation that each channel exceeds in at most ``FIRES`` of all cells, ``[C]``.

    Parameters
    ----------
    activations
        ``[n, C, h, w]``.
    """
    cells = activations[:, 0].size
    at = max(cells - int(FIRES * cells) - 1, 0)
    channels = range(activations.shape[1])  # one by one: a copy of all would double the memory
    return np.array([np.partition(activations[:, k], at, axis=None)[at] for k in channels])


def overlaps(activations: Singles, masks: Singles) -> tuple[Floats, Floats]:
    """How well where a channel fires agrees with each region, over all cells of all samples.

    Parameters
    ----------
    activations
        ``[n, C, h, w]``.
    masks
        ``[n, R, h, w]``, part of each cell in each region.

    Returns
    -------
    iou, agreement
        ``[C, R]`` each: intersection over union by area, and Loevinger's H (1948), the
        intersection less that by chance over the largest possible less that by chance. Both are 0
        where a channel never fires or a region is empty.
    """
    inside = masks.swapaxes(0, 1).reshape(masks.shape[1], -1)
    cells = inside.shape[1]
    both = np.zeros((activations.shape[1], len(inside)))
    firing = np.zeros((len(both), 1))
    for k, threshold in enumerate(thresholds(activations)):
        fired = np.flatnonzero(activations[:, k] > threshold)
        both[k] = inside[:, fired].sum(1, dtype=np.float64) / cells
        firing[k] = len(fired) / cells
    area = inside.mean(1, dtype=np.float64)[None]
    by_chance, most = firing * area, np.minimum(firing, area)
    return (
        _ratio(both, firing + area - both),
        _ratio(both - by_chance, most - by_chance),
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    found: Floats = np.divide(above, below, out=np.zeros_like(above), where=below > 1e-12)
    return found


def name_neurons(features: Features, classes: list[str], config: Audit) -> pd.DataFrame:
    """The table ``neurons``: the most important channels of each predicted class, with names.

    Importance is the channel's mean contribution to the score of the class over the samples
    predicted as it (every cluster counting the same), as part of all positive ones. The name is
    the region of largest IoU among those that the channel agrees with (:data:`NAMED`).

    Parameters
    ----------
    features
        With activations and masks.
    classes
        Class names, in the order of the ids.
    config
        The audit.
    """
    assert features.activations is not None
    assert features.masks is not None
    iou, agreement = overlaps(features.activations, features.masks)
    best = np.where(agreement >= NAMED, iou, -1.0).argmax(1)
    channel = np.arange(len(iou))
    named = agreement[channel, best] >= NAMED
    best = np.where(named, best, agreement.argmax(1))
    regions = np.array(config.regions.names, dtype=object)
    frames = []
    for code, target_class in enumerate(classes):
        members = features.predicted == code
        if not members.any():
            continue
        weights = equal_weights(features.cluster[members])
        positive = np.clip(weights @ features.contribution[members].astype(np.float64), 0, None)
        top = np.argsort(-positive, kind="stable")[: config.discovery.channels]
        top = top[positive[top] > 0]
        frames.append(
            pd.DataFrame(
                {
                    "target_class": target_class,
                    "channel": top,
                    "importance": positive[top] / max(positive.sum(), 1e-300),
                    "region": np.where(named[top], regions[best[top]], UNNAMED),
                    "iou": iou[top, best[top]],
                    "agreement": agreement[top, best[top]],
                    "n": int(members.sum()),
                    "clusters": distinct(features.cluster[members]),
                }
            )
        )
    neurons: pd.DataFrame = to_arrow(pd.concat(frames, ignore_index=True), NEURONS).to_pandas()
    return neurons
