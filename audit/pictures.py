"""The few samples that the report shows: chosen by rule, drawn once, kept in the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from audit.atomic import replacing_folder
from audit.attribution import Attribution, display, guided_grad_cam
from audit.config import Regions
from audit.context import Context
from audit.data.batches import Batch
from audit.interventions.margins import margin_of
from audit.runs.files import write_json
from audit.runs.folder import Run
from audit.shard import EXPLAINED, answered, class_ids, covered, explain_batch, trials
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
COLD = np.array(  # of what speaks against a class: dark to pale blue, never taken for heat
    [[5, 15, 50], [10, 60, 120], [20, 120, 180], [70, 180, 215], [200, 245, 245]], dtype=float
)
_COMPARED = [
    *("sample_id", "arm", "prediction_before", "prediction_after"),
    *("margin_before", "margin_after"),
]
RELIES, WRONG, EXTREME, TYPICAL, DEAD = "relies", "wrong", "extreme", "typical", "dead"
OVERLAY = 112  # pixels of an overlay's longer side: maps are smooth, and pages scale them


class Choice(NamedTuple):
    """The rule that a picture was chosen by, and the region that the rule is about."""

    rule: str
    region: str | None = None


def illustrate(context: Context, run: Run) -> None:
    """Choose samples and write ``pictures/`` with ``pictures.json``; replaced as a whole."""
    samples = read_table(run.table("samples"), SAMPLES)
    attention = read_table(
        run.table("attention"),
        ATTENTION,
        ["sample_id", "explained", "target_class", "region", "share", "dead"],
        {"method": "grad-cam"},
    )
    interventions = read_table(run.table("interventions"), INTERVENTIONS, _COMPARED)
    config = context.config
    chosen = choose(samples, attention, interventions, config.regions, config.output.pictures)
    with replacing_folder(run.pictures) as temporary:
        drawn = {
            one["sample_id"]: one for one in _drawn(context, samples, attention, chosen, temporary)
        }
        described = [drawn[sample_id] for sample_id in chosen if sample_id in drawn]
        write_json(temporary / "pictures.json", {"pictures": described})


def choose(
    samples: pd.DataFrame,
    attention: pd.DataFrame,
    interventions: pd.DataFrame,
    regions: Regions,
    limit: int,
) -> dict[str, Choice]:
    """Sample ids and why each is shown, at most ``limit``, the first to be shown first.

    relies: the act changes the answer and the placebo does not, largest drop of the margin first;
    wrong: the most confident errors; extreme: the largest share, on a region that is forbidden
    for the class predicted, of the map for that class; typical: share nearest the median of its
    class and region; dead: no positive mass. Each class has its own groups, and they take turns.
    """
    audited = samples[(samples["part"] == "audit") & (samples["status"] == OK)]
    of_class = [
        _groups(label, own, attention, interventions, regions.with_role("forbidden", label))
        for label, own in sorted(audited.groupby(audited["label"].astype(str)))
    ]
    # Classes begin at different rules, so that few pictures of many classes show every rule.
    turns = sorted(
        ((place - i) % len(groups), i, choice, ids)
        for i, groups in enumerate(of_class)
        for place, (choice, ids) in enumerate(groups)
    )
    return _in_turn([(choice, ids) for _, _, choice, ids in turns], limit)


def _groups(
    label: str,
    own: pd.DataFrame,
    attention: pd.DataFrame,
    interventions: pd.DataFrame,
    forbidden: list[str],
) -> list[tuple[Choice, list[str]]]:
    """The groups of a class that are not empty, each with its samples in the rule's order."""
    ids = set(own["sample_id"])
    wrong = own[own["prediction"].astype(str) != label].sort_values("score", ascending=False)
    true = attention[attention["sample_id"].isin(ids) & (attention["explained"] == "true")]
    answered = attention["target_class"].astype(str) == label
    predicted = attention[answered & (attention["explained"] == "predicted") & ~attention["dead"]]
    groups = [
        (Choice(RELIES), _relying(interventions[interventions["sample_id"].isin(ids)])),
        (Choice(WRONG), wrong["sample_id"].tolist()),
        *((Choice(EXTREME, region), _extreme(predicted, region)) for region in forbidden),
        (Choice(TYPICAL), _typical(true)),
        (Choice(DEAD), true.loc[true["dead"], "sample_id"].unique().tolist()[:2]),
    ]
    return [(choice, found) for choice, found in groups if found]


def _extreme(attention: pd.DataFrame, region: str) -> list[str]:
    shares = attention[attention["region"] == region].sort_values(
        ["share", "sample_id"], ascending=[False, True]
    )
    return shares["sample_id"].astype(str).tolist()


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


def _in_turn(groups: list[tuple[Choice, list[str]]], limit: int) -> dict[str, Choice]:
    chosen: dict[str, Choice] = {}
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
    chosen: dict[str, Choice],
    folder: Path,
) -> Iterator[dict[str, Any]]:
    usable_and_chosen = samples["sample_id"].isin(chosen) & (samples["part"] == "audit")
    positions = samples.index[usable_and_chosen & (samples["status"] == OK)].to_numpy(
        dtype=np.int64
    )
    own = attention[attention["sample_id"].isin(chosen)]
    shares = {explained: _shares(own, explained) for explained in EXPLAINED}
    number = 0
    for batch in context.batches(positions):
        rows = samples.loc[batch.index].reset_index(drop=True)
        for entry in _drawn_batch(context, batch, rows, folder, number):
            name = entry["sample_id"]
            yield {
                **entry,
                "chosen_for": chosen[name].rule,
                "chosen_region": chosen[name].region,
                "shares": shares["predicted"].get(name, {}),
                "true_shares": shares["true"].get(name, {}),
            }
        number += len(rows)


def _drawn_batch(
    context: Context, batch: Batch, rows: pd.DataFrame, folder: Path, first: int
) -> Iterator[dict[str, Any]]:
    attribution = explain_batch(context, batch, rows)
    size = (batch.images.shape[-2], batch.images.shape[-1])
    maps = overlays(attribution, _at_most(size, OVERLAY))
    true = class_ids(context, rows["label"])
    true_scores = attribution.logits.softmax(1).gather(1, true[:, None])[:, 0].cpu().numpy()
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
        right = str(row["label"]) == str(row["prediction"])
        own = {name: picture for name, of in maps.items() if (picture := of[i]) is not None}
        if guided is not None:
            _save(folder / f"{stem}-guided.webp", guided_picture(guided[i]))
        yield {
            "sample_id": row["sample_id"],
            "label": str(row["label"]),
            "prediction": str(row["prediction"]),
            "score": float(row["score"]),
            "true_score": float(true_scores[i]),
            "attributes": {n: str(row[attribute_column(n)]) for n in attributes_of(rows)},
            "size": list(size),
            "original": f"{stem}-original.webp",
            "maps": _save_maps(folder, stem, own, right),
            "guided": f"{stem}-guided.webp" if guided is not None else None,
            "outlines": {
                n: outline_path(masks[i, r]) for r, n in enumerate(names) if masks[i, r].any()
            },
            "variants": variants[i],
        }


def overlays(attribution: Attribution, size: tuple[int, int]) -> dict[str, list[Picture | None]]:
    """Per kind of map, of each sample: what speaks for a class, and, where any does, against it.

    What speaks against is the counterfactual map of the Grad-CAM paper's section 3.3: the one with
    negated gradients, which is the positive part of minus the map.
    """
    found: dict[str, list[Picture | None]] = {}
    for k, explained in enumerate(EXPLAINED):
        maps = attribution.maps[:, k]
        speaking = display(maps, size).cpu().numpy()
        against = display(-maps, size).cpu().numpy()
        found[explained] = [heat_overlay(one) for one in speaking]
        found[f"against-{explained}"] = [
            heat_overlay(one, COLD) if one.any() else None for one in against
        ]
    return found


def _at_most(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """A size of the same shape whose longer side is at most so many pixels."""
    factor = min(1.0, longer / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _save_maps(folder: Path, stem: str, maps: dict[str, Picture], right: bool) -> dict[str, str]:
    """Names of the files of a sample's maps; of a right answer one file serves both classes."""
    files = {name: f"{stem}-{name}.webp" for name in maps}
    if right:
        files = {name: file.replace("true", "predicted") for name, file in files.items()}
    for file, picture in {file: maps[name] for name, file in files.items()}.items():
        _save(folder / file, picture)
    return files


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


def _shares(attention: pd.DataFrame, explained: str) -> dict[str, dict[str, float]]:
    """Share of a Grad-CAM per sample and region; dead maps have none."""
    own = attention[(attention["explained"] == explained) & ~attention["dead"]]
    found: dict[str, dict[str, float]] = {}
    for sample_id, region, share in zip(own["sample_id"], own["region"], own["share"], strict=True):
        found.setdefault(str(sample_id), {})[str(region)] = float(share)
    return found


def heat_overlay(heat: npt.NDArray[np.float32], colours: npt.NDArray[np.float64] = HEAT) -> Picture:
    """A display map ``[h, w]`` in 0..1 as RGBA ``[h, w, 4]``: hotter is lighter and less clear."""
    stops = np.linspace(0, 1, len(colours))
    colour = np.stack([np.interp(heat, stops, colours[:, c]) for c in range(3)], -1)
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
