"""The few samples that the report shows: chosen by rule, drawn once, kept in the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from audit.attribution import display, guided_grad_cam
from audit.context import Context
from audit.data.batches import Batch
from audit.interventions.margins import margin_of
from audit.runs.files import write_json
from audit.runs.folder import Run
from audit.shard import EXPLAINED, answered, covered, explain_batch, trials
from audit.tables import (
    ATTENTION,
    INTERVENTIONS,
    OK,
    SAMPLES,
    attribute_column,
    attributes_of,
    read_table,
)

Picture = npt.NDArray[np.uint8]

HEAT = np.array(  # dark violet to pale yellow: readable for colour-blind eyes, and in grey
    [[30, 10, 70], [120, 30, 110], [200, 60, 75], [245, 130, 30], [250, 235, 130]], dtype=float
)
_COMPARED = [
    *("sample_id", "arm", "prediction_before", "prediction_after"),
    *("margin_before", "margin_after"),
]
RELIES, WRONG, TYPICAL, DEAD = "relies", "wrong", "typical", "dead"


def illustrate(context: Context, run: Run) -> None:
    """Choose samples and write ``pictures/`` with ``pictures.json``; replaced as a whole."""
    samples = read_table(run.table("samples"), SAMPLES)
    attention = read_table(
        run.table("attention"),
        ATTENTION,
        ["sample_id", "explained", "region", "share", "dead"],
        {"method": "grad-cam"},
    )
    interventions = read_table(run.table("interventions"), INTERVENTIONS, _COMPARED)
    chosen = choose(samples, attention, interventions, context.config.output.pictures)
    temporary = run.pictures.with_name(".pictures.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    described = list(_drawn(context, samples, attention, chosen, temporary))
    write_json(temporary / "pictures.json", {"pictures": described})
    shutil.rmtree(run.pictures, ignore_errors=True)
    temporary.replace(run.pictures)


def choose(
    samples: pd.DataFrame, attention: pd.DataFrame, interventions: pd.DataFrame, limit: int
) -> dict[str, str]:
    """Sample ids and why each is shown, at most ``limit``, from each group in turn.

    relies: the act changes the answer and the placebo does not, largest drop of the margin first;
    wrong: the most confident errors; typical: share nearest the median of its class and region;
    dead: no positive mass. Groups are kept per class.
    """
    audited = samples[(samples["part"] == "audit") & (samples["status"] == OK)]
    groups: list[tuple[str, list[str]]] = []
    for label in sorted(audited["label"].astype(str).unique()):
        own = audited[audited["label"].astype(str) == label]
        ids = set(own["sample_id"])
        groups.append((RELIES, _relying(interventions[interventions["sample_id"].isin(ids)])))
        wrong = own[own["prediction"].astype(str) != label]
        groups.append((WRONG, wrong.sort_values("score", ascending=False)["sample_id"].tolist()))
        mine = attention[attention["sample_id"].isin(ids) & (attention["explained"] == "true")]
        groups.append((TYPICAL, _typical(mine)))
        groups.append((DEAD, mine.loc[mine["dead"], "sample_id"].unique().tolist()[:2]))
    return _in_turn(groups, limit)


def _relying(interventions: pd.DataFrame) -> list[str]:
    flipped = interventions.assign(
        flipped=interventions["prediction_after"].astype(str)
        != interventions["prediction_before"].astype(str),
        drop=interventions["margin_before"] - interventions["margin_after"],
    )
    arms = flipped.assign(
        act=flipped["flipped"].where(flipped["arm"] == "act"),
        placebo=flipped["flipped"].where(flipped["arm"] == "placebo"),
        drop=flipped["drop"].where(flipped["arm"] == "act"),
    )
    per_sample = arms.groupby("sample_id").agg({"act": "max", "placebo": "max", "drop": "max"})
    relying = per_sample[(per_sample["act"] == 1) & (per_sample["placebo"] != 1)]
    return relying.sort_values("drop", ascending=False, kind="stable").index.astype(str).tolist()


def _typical(attention: pd.DataFrame) -> list[str]:
    live = attention[~attention["dead"]]
    if live.empty:
        return []
    median = live.groupby("region", observed=True)["share"].transform("median")
    off = (live["share"] - median).abs().groupby(live["sample_id"]).sum()
    return off.sort_values(kind="stable").index.astype(str).tolist()


def _in_turn(groups: list[tuple[str, list[str]]], limit: int) -> dict[str, str]:
    chosen: dict[str, str] = {}
    queues = [(why, iter(ids)) for why, ids in groups]
    while queues and len(chosen) < limit:
        why, ids = queues.pop(0)
        fresh = next((i for i in ids if i not in chosen), None)
        if fresh is not None:
            chosen[fresh] = why
            queues.append((why, ids))
    return chosen


def _drawn(
    context: Context,
    samples: pd.DataFrame,
    attention: pd.DataFrame,
    chosen: dict[str, str],
    folder: Path,
) -> Iterator[dict[str, Any]]:
    usable_and_chosen = samples["sample_id"].isin(chosen) & (samples["part"] == "audit")
    positions = samples.index[usable_and_chosen & (samples["status"] == OK)].to_numpy(
        dtype=np.int64
    )
    shares = _shares(attention[attention["sample_id"].isin(chosen)])
    number = 0
    for batch in context.batches(positions):
        rows = samples.loc[batch.index].reset_index(drop=True)
        for entry in _drawn_batch(context, batch, rows, folder, number):
            name = entry["sample_id"]
            yield {**entry, "chosen_for": chosen[name], "shares": shares.get(name, {})}
        number += len(rows)


def _drawn_batch(
    context: Context, batch: Batch, rows: pd.DataFrame, folder: Path, first: int
) -> Iterator[dict[str, Any]]:
    attribution = explain_batch(context, batch, rows)
    size = (batch.images.shape[-2], batch.images.shape[-1])
    heat = display(attribution.maps, size).cpu().numpy()
    guided = None
    if attribution.guided is not None:
        guided = guided_grad_cam(attribution.maps[:, 1], attribution.guided[:, 1]).cpu().numpy()
    variants = _variants(context, batch, rows, attribution.logits, folder, first)
    pixels = batch.images.permute(0, 2, 3, 1).cpu().numpy()
    masks = (covered(batch) >= 0.5).cpu().numpy()
    names = context.config.regions.names
    for i, (_, row) in enumerate(rows.iterrows()):
        stem = f"{first + i:04d}"
        _save(folder / f"{stem}-original.webp", pixels[i])
        for k, explained in enumerate(EXPLAINED):
            _save(folder / f"{stem}-{explained}.webp", heat_overlay(heat[i, k]))
        if guided is not None:
            _save(folder / f"{stem}-guided.webp", guided_picture(guided[i]))
        yield {
            "sample_id": row["sample_id"],
            "label": str(row["label"]),
            "prediction": str(row["prediction"]),
            "score": float(row["score"]),
            "attributes": {n: str(row[attribute_column(n)]) for n in attributes_of(rows)},
            "size": list(size),
            "original": f"{stem}-original.webp",
            "maps": {explained: f"{stem}-{explained}.webp" for explained in EXPLAINED},
            "guided": f"{stem}-guided.webp" if guided is not None else None,
            "outlines": {
                n: outline_path(masks[i, r]) for r, n in enumerate(names) if masks[i, r].any()
            },
            "variants": variants[i],
        }


def _variants(
    context: Context, batch: Batch, rows: pd.DataFrame, logits: Tensor, folder: Path, first: int
) -> list[list[dict[str, Any]]]:
    """Altered pictures of each sample of a batch, drawn, with the margin before and after."""
    predicted = logits.argmax(1)
    before = margin_of(logits, predicted)
    found: list[list[dict[str, Any]]] = [[] for _ in range(len(rows))]
    for (region, trial, _), altered in answered(context, trials(context, batch, rows)):
        after = margin_of(altered, predicted[torch.from_numpy(trial.rows).to(predicted.device)])
        pixels = (trial.images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for j, i in enumerate(trial.rows):
            name = f"{first + i:04d}-v{len(found[i]):02d}.webp"
            _save(folder / name, pixels[j])
            found[i].append(
                {
                    "region": region,
                    "test": trial.test,
                    "arm": trial.arm,
                    "fill": trial.fill,
                    "file": name,
                    "prediction_after": context.classifier.classes[int(altered[j].argmax())],
                    "margin_before": float(before[i]),
                    "margin_after": float(after[j]),
                }
            )
    return found


def _shares(attention: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Share of the predicted class's Grad-CAM per sample and region; dead maps have none."""
    own = attention[(attention["explained"] == "predicted") & ~attention["dead"]]
    found: dict[str, dict[str, float]] = {}
    for sample_id, region, share in zip(own["sample_id"], own["region"], own["share"], strict=True):
        found.setdefault(str(sample_id), {})[str(region)] = float(share)
    return found


def heat_overlay(heat: npt.NDArray[np.float32]) -> Picture:
    """A display map ``[h, w]`` in 0..1 as RGBA ``[h, w, 4]``: hotter is lighter and less clear."""
    stops = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(heat, stops, HEAT[:, c]) for c in range(3)], -1)
    alpha = 255 * np.clip(heat * 1.25, 0, 0.9)[..., None]
    return np.concatenate([colour, alpha], -1).round().astype(np.uint8)


def guided_picture(guided: npt.NDArray[np.float32]) -> Picture:
    """Guided Grad-CAM ``[3, h, w]`` around mid grey, scaled by its 99.5th percentile."""
    scale = float(np.quantile(np.abs(guided), 0.995)) or 1.0
    scaled = np.clip(0.5 + guided / (2 * scale), 0, 1)
    picture: Picture = (255 * scaled).round().astype(np.uint8).transpose(1, 2, 0)
    return picture


def outline_path(mask: npt.NDArray[np.bool_]) -> str:
    """SVG path of a mask's pixel edges, in a view box of the mask's width and height.

    Examples
    --------
    >>> outline_path(np.array([[True, True]]))
    'M0 0h2M0 1h2M0 0v1M2 0v1'
    """
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    down = padded[1:-1, 1:] != padded[1:-1, :-1]
    horizontal = [f"M{x} {y}h{n}" for y, row in enumerate(across) for x, n in _stretches(row)]
    vertical = [f"M{x} {y}v{n}" for x, column in enumerate(down.T) for y, n in _stretches(column)]
    return "".join(horizontal + vertical)


def _stretches(line: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and length of each unbroken stretch of True."""
    steps = np.diff(np.pad(line.astype(np.int8), 1))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(int(a), int(b - a)) for a, b in zip(starts, ends, strict=True)]


def _save(path: Path, pixels: Picture) -> None:
    Image.fromarray(pixels).save(path, quality=82, method=4)
