"""A run of any size whose shards are written without a model: what merging and judging read.

One face region, followed by one class of the two; the other, core, is not. Every sample is a
cluster of its own, which is the most that judging can have to hold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.config import Audit
from audit.interventions.draw import draw
from audit.runs.files import write_json
from audit.runs.folder import Run, start_or_resume
from audit.runs.shards import shard_folder, write_shard
from audit.tables import PROPERTIES, SAMPLES, to_arrow, write_table

CLASSES = np.array(["doctor", "nurse"], dtype=object)
GROUPS = np.array(["man", "woman"], dtype=object)
REGIONS = ("face", "tools")
METHODS = ("grad-cam", "guided-grad-cam")
EXPLAINED = ("true", "predicted")
ROWS = len(REGIONS) * len(METHODS) * len(EXPLAINED)  # of the attention table, per sample
SHARD = 256
SIDE = 7
DIGEST = "0" * 64

Floats = NDArray[np.float64]


def config_of(root: Path, resamples: int | None = None) -> Audit:
    """The audit of the run; statistics as nobody configured them, unless told otherwise."""
    source = {"encoding": "codes", "values": {name: i + 1 for i, name in enumerate(REGIONS)}}
    return Audit.model_validate(
        {
            "name": "large",
            "data": {
                "root": str(root.resolve()),
                "train": {"part": "train"},
                "attributes": ["gender"],
                "classes": list(CLASSES),
            },
            "regions": {
                "source": source,
                "roles": {"core": ["tools"], "forbidden": ["face"]},
            },
            "statistics": {} if resamples is None else {"resamples": resamples},
            "execution": {"shard_size": SHARD},
        }
    )


def write_run(folder: Path, count: int, resamples: int | None = None) -> Run:
    """An unfinished run in which every shard is measured, and nothing merged.

    Parameters
    ----------
    folder
        Where the run is put; empty or not there.
    count
        Audited samples; 8 rows of the attention table, and 2 maps, of each.
    resamples
        See :func:`config_of`.
    """
    config = config_of(folder, resamples)
    run = start_or_resume(config, folder)
    checked = checked_samples(count)
    checked["stands_for"] = draw(checked, config)
    write_table(checked, SAMPLES, run.checked)
    _write_properties(run, checked)
    starts = range(0, count, SHARD)
    for index, start in enumerate(starts):
        part = checked.iloc[start : start + SHARD].reset_index(drop=True)
        write_shard(shard_folder(run.shards, DIGEST, index), shard(part, index))
    planned = dict.fromkeys(("layer", "tests", "no_guided_grad_cam", "inputs", "environment"))
    write_json(run.plan, planned | {"digest": DIGEST, "shards": len(starts)})
    return run


def checked_samples(count: int) -> pd.DataFrame:
    """The samples table before a model has seen it."""
    rng = np.random.default_rng(0)
    ids = np.array([f"sample-{i:08d}" for i in range(count)], dtype=object)
    frame = pd.DataFrame({"sample_id": ids, "path": "images/" + ids + ".png", "part": "audit"})
    frame["label"] = CLASSES[rng.integers(0, 2, count)]
    frame["cluster_id"] = ids
    frame = frame.assign(status="ok", reason="", prediction=None, score=None)
    frame = frame.assign(margin=None, true_margin=None, stands_for=1.0)
    frame["attribute:gender"] = GROUPS[rng.integers(0, 2, count)]
    return to_arrow(frame, SAMPLES).to_pandas()


def _write_properties(run: Run, samples: pd.DataFrame) -> None:
    rng, n = np.random.default_rng(1), len(samples)
    columns: dict[str, object] = {"sample_id": samples["sample_id"], "width": 64, "height": 64}
    for name in ("brightness", "contrast", "sharpness", "border"):
        columns[name] = rng.random(n)
    columns["phash"] = rng.integers(0, 2**63, n).astype(np.uint64)
    columns["areas"] = list(rng.random((n, len(REGIONS))).astype(np.float32))
    write_table(pd.DataFrame(columns), PROPERTIES, run.table("properties"))


def shard(samples: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """The tables of one shard; nine answers in ten are right, and one in five rests on a face."""
    rng, n = np.random.default_rng([2, seed]), len(samples)
    label = np.searchsorted(CLASSES, samples["label"].to_numpy(object))
    predicted = np.where(rng.random(n) < 0.9, label, 1 - label)
    margin = np.abs(rng.normal(2, 1, n)) + 0.01
    scored = samples.assign(
        prediction=CLASSES[predicted],
        score=1 / (1 + np.exp(-margin)),
        margin=margin,
        true_margin=np.where(predicted == label, margin, -margin),
    )
    masks = (rng.random((n, len(REGIONS), SIDE * SIDE)) < 0.15).astype(np.float32)
    maps = rng.gamma(1.0, size=(n, SIDE * SIDE)).astype(np.float32) + label[:, None] * masks[:, 0]
    return {
        "samples": scored,
        "attention": _attention(scored, maps, masks),
        "interventions": _interventions(scored[scored["stands_for"] > 0], rng),
        "maps": _maps(scored, maps, masks),
    }


def _attention(scored: pd.DataFrame, maps: Floats, masks: Floats) -> pd.DataFrame:
    share = np.einsum("nc,nrc->nr", maps, masks) / maps.sum(1, keepdims=True)
    area, half = masks.mean(2), 0.5 / SIDE**2
    s, a = np.clip(share, half, 1 - half), np.clip(area, half, 1 - half)
    n, width = len(scored), len(REGIONS)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sample_id": np.repeat(scored["sample_id"].to_numpy(object), width),
                    "method": method,
                    "explained": explained,
                    "target_class": np.repeat(scored[column].to_numpy(object), width),
                    "region": np.tile(np.array(REGIONS, dtype=object), n),
                    "share": share.reshape(-1),
                    "area": area.reshape(-1),
                    "rho": ((s / a) / ((1 - s) / (1 - a))).reshape(-1),
                    "pointing": 0.0,
                    "dead": False,
                    "measurable": (masks.sum(2) >= 2).reshape(-1),
                }
            )
            for method in METHODS
            for explained, column in zip(EXPLAINED, ("label", "prediction"), strict=True)
        ],
        ignore_index=True,
    )


def _interventions(drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    n = len(drawn)
    before = drawn["prediction"].to_numpy(object)
    other = CLASSES[1 - np.searchsorted(CLASSES, before)]
    parts = []
    for fill in ("blur", "local-mean"):
        for arm, rate in (("act", 0.2), ("placebo", 0.05)):
            flipped = rng.random(n) < rate
            moved = rng.normal(0, 0.2, n) - flipped
            numbers = {
                f"{name}_{when}": drawn[name].to_numpy() + (moved if when == "after" else 0)
                for name in ("margin", "true_margin")
                for when in ("before", "after")
            }
            parts.append(
                pd.DataFrame(
                    {
                        "sample_id": drawn["sample_id"].to_numpy(object),
                        "region": "face",
                        "test": "removal",
                        "arm": arm,
                        "fill": fill,
                        "donor_id": None,
                        "area": 0.15,
                        "prediction_before": before,
                        "prediction_after": np.where(flipped, other, before),
                        "logits_before": None,
                        "logits_after": None,
                        **numbers,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _maps(scored: pd.DataFrame, maps: Floats, masks: Floats) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sample_id": scored["sample_id"].to_numpy(object),
                    "explained": explained,
                    "target_class": scored[column].to_numpy(object),
                    "height": SIDE,
                    "width": SIDE,
                    "map": list(maps.astype(np.float32)),
                    "masks": list(masks.astype(np.float16).reshape(len(scored), -1)),
                }
            )
            for explained, column in zip(EXPLAINED, ("label", "prediction"), strict=True)
        ],
        ignore_index=True,
    )
