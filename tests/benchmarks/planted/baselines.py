"""What else a team might look at: attention alone, the data alone, accuracy alone.

Each gives one number per model, larger where it speaks more for reliance on the cue.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from audit.attribution import upsample
from audit.shard import Tables
from tests.benchmarks.planted.scenes import SIDE, Scenes

NAMES = (
    "share over area",
    "region focus",
    "map IoU",
    "predictive power",
    "worst-group gap",
    "attention permutation",
)

_THRESHOLD = 0.5  # of the map's maximum
_PERMUTATIONS = 999

Floats = NDArray[np.float64]


def attention_baselines(
    tables: Tables, region: torch.Tensor, rng: np.random.Generator
) -> dict[str, float]:
    """Grad-CAM of the predicted class against the cue's region, over pictures that have it.

    Parameters
    ----------
    tables
        Of one audit.
    region
        ``[N, SIDE, SIDE]`` bool, in the order of the samples; empty where there is no cue.
    rng
        Of the permutations.
    """
    maps = tables["maps"]
    maps = maps[maps["explained"] == "predicted"]
    grid = (int(maps["height"].iloc[0]), int(maps["width"].iloc[0]))
    raw = torch.from_numpy(np.stack(maps["map"].to_list())).view(-1, *grid).clamp(min=0)
    there = region.flatten(1).any(1)
    alive = there & (raw.flatten(1).amax(1) > 0)
    if not alive.any():
        return dict.fromkeys(("share over area", "region focus", "map IoU", NAMES[-1]), 0.0)
    mass = upsample(raw[alive], (SIDE, SIDE)).clamp(min=0)
    masks = region[alive]
    hot = mass >= _THRESHOLD * mass.amax((1, 2), keepdim=True)
    inside = (hot & masks).sum((1, 2)).double()
    share = (mass * masks).sum((1, 2)) / mass.sum((1, 2))
    cells = tables["samples"]["label"].astype(str).to_numpy()[alive.numpy()]
    return {
        "share over area": float((share / masks.float().mean((1, 2))).mean()),
        "region focus": float((inside / hot.sum((1, 2))).mean()),
        "map IoU": float((inside / (hot | masks).sum((1, 2))).mean()),
        "attention permutation": alignment(mass, masks, cells, rng),
    }


def alignment(
    maps: torch.Tensor, masks: torch.Tensor, cells: NDArray[np.str_], rng: np.random.Generator
) -> float:
    """How far the mean share lies above that with masks permuted within cells, in normal scores.

    The permutation p of the share as a normal score while it is above its floor of 1 / (B + 1),
    there the number of standard deviations, so that strong effects keep an order. 0 where the
    masks never move: nothing can be said.
    """
    n = len(maps)
    parts = (maps / maps.sum((1, 2), keepdim=True)).flatten(1).double().numpy()
    shares = parts @ masks.flatten(1).double().numpy().T  # [map, mask]
    groups = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    observed = float(np.trace(shares)) / n
    drawn = np.empty(_PERMUTATIONS)
    for b in range(_PERMUTATIONS):
        drawn[b] = sum(float(shares[rows, rng.permutation(rows)].sum()) for rows in groups) / n
    spread = float(drawn.std())
    if spread < 1e-12:
        return 0.0
    p = (1 + int((drawn >= observed - 1e-12).sum())) / (_PERMUTATIONS + 1)
    deviations = (observed - float(drawn.mean())) / spread
    floor = float(stats.norm.isf(1.5 / (_PERMUTATIONS + 1)))
    return (
        max(floor, deviations)
        if p <= 1 / (_PERMUTATIONS + 1)
        else float(stats.norm.isf(p - 0.5 / (_PERMUTATIONS + 1)))
    )


def predictive_power(training: Scenes) -> float:
    """Predictive power of the cue for the label in the training data, 0 to 1.

    The score of deepchecks' property-label check: cross-validated weighted F1 of a decision tree
    with the property alone, above the better of guessing and of the commonest class.
    """
    cue = training.present.numpy()[:, None].astype(float)
    label = training.label.numpy()
    found = cross_val_predict(DecisionTreeClassifier(), cue, label, cv=4)
    model = f1_score(label, found, average="weighted")
    commonest = np.full_like(label, np.bincount(label).argmax())
    shuffled = np.random.default_rng(0).permutation(label)
    naive = max(f1_score(label, guess, average="weighted") for guess in (commonest, shuffled))
    return max(0.0, float((model - naive) / (1 - naive)))


def worst_group_gap(tables: Tables, present: torch.Tensor) -> float:
    """Accuracy less that of the worst of the four groups label x cue."""
    samples = tables["samples"]
    label = samples["label"].astype(str).to_numpy()
    right = label == samples["prediction"].astype(str).to_numpy()
    marked = present.numpy()
    groups = [right[(label == name) & (marked == cue)] for name in set(label) for cue in (0, 1)]
    return float(right.mean() - min(group.mean() for group in groups if len(group)))
