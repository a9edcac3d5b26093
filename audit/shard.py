"""A slice of the samples to tables: decode, forward once, maps, shares, interventions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from audit.attention import Attention, measure
from audit.attribution import Attribution, attribute, guided_grad_cam
from audit.config import Audit
from audit.context import Context
from audit.data.batches import Batch
from audit.geometry import coverage_to_grid
from audit.interventions.margins import margin_of
from audit.interventions.swap import NO_DONOR
from audit.interventions.trials import (
    ACT,
    PLACEBO,
    REMOVAL,
    SUFFICIENCY,
    Trial,
    removal,
    seeds_of,
    sufficiency,
    swap_trial,
)
from audit.tables import ATTENTION, INTERVENTIONS, MAPS, SAMPLES, Table, attributes_of, empty

EXPLAINED = ("true", "predicted")
Positions = npt.NDArray[np.int64]
Tables = dict[str, pd.DataFrame]
Made = tuple[str, Trial, list[str | None]]  # the region under test, the trial, the donors' ids


def measure_shard(context: Context, positions: Positions) -> Tables:
    """The tables ``samples``, ``attention``, ``interventions`` and ``maps`` of some samples.

    Parameters
    ----------
    context
        Data, model, layer, tests.
    positions
        ``[n]`` positions of usable samples.
    """
    parts = [measure_batch(context, batch) for batch in context.batches(positions)]
    attributes = attributes_of(context.samples)
    return {
        table.name: _stacked([part[table.name] for part in parts], table, attributes)
        for table in (SAMPLES, ATTENTION, INTERVENTIONS, MAPS)
    }


def measure_batch(context: Context, batch: Batch) -> Tables:
    """All tables of one batch."""
    samples = context.samples.iloc[batch.index].reset_index(drop=True)
    attribution = explain_batch(context, batch, samples)
    scored = score(context, samples, attribution.logits)
    return {
        "samples": scored,
        "attention": _attention(context, scored, attribution, covered(batch)),
        "interventions": intervene(context, *_drawn(batch, scored, attribution.logits)),
        "maps": _maps(scored, attribution, covered(batch)),
    }


def explain_batch(context: Context, batch: Batch, samples: pd.DataFrame) -> Attribution:
    """Maps of the true and of the predicted class, from one forward."""
    classifier = context.classifier
    true = class_ids(context, samples["label"])
    return attribute(
        classifier.module,
        classifier.prepare(batch.images),
        lambda logits: torch.stack([true, logits.argmax(1)], 1),
        layer=context.layer,
        guided=context.guided,
        output=classifier.logits,
    )


def trials(context: Context, batch: Batch, scored: pd.DataFrame) -> Iterator[Made]:
    """Every altered picture of a batch: the region under test, the trial, the donors' ids.

    A region is tested on the samples whose predicted class must not rest on it; classes that mean
    the same by their regions are tested together.
    """
    images = batch.images.float() / 255
    for region, test in context.tests.items():
        # Sufficiency compares the predicted classes, so it needs them all.
        for classes in context.alike if test == SUFFICIENCY else context.tested_on(region):
            rows = np.flatnonzero(scored["prediction"].astype(str).isin(classes))
            if len(rows) == 0:
                continue
            ids = scored["sample_id"].iloc[rows].tolist()
            make = _removals if test == REMOVAL else _sufficiencies
            for trial in make(context, images[rows], covered(batch)[rows], region, classes[0], ids):
                yield region, replace(trial, rows=rows[trial.rows]), [None] * len(trial.rows)
        if test == REMOVAL and context.donors is not None:
            yield from _swaps(context, batch, images, scored, region)


def _removals(
    context: Context,
    images: Tensor,
    coverage: Tensor,
    region: str,
    target_class: str,
    sample_ids: list[str],
) -> Iterator[Trial]:
    interventions = context.config.interventions
    return removal(
        images,
        context.removed_mask(coverage, region, target_class),
        context.avoid_mask(coverage, target_class),
        interventions.fills,
        interventions.placebo,
        seeds_of(sample_ids, region, context.config.seed),
    )


def _sufficiencies(
    context: Context,
    images: Tensor,
    coverage: Tensor,
    region: str,
    target_class: str,
    sample_ids: list[str],
) -> Iterator[Trial]:
    core = context.config.regions.with_role("core", target_class)
    return sufficiency(
        images,
        context.region_mask(coverage, core),
        context.config.interventions.fills,
        seeds_of(sample_ids, region, context.config.seed),
        context.config.interventions.dilate,
    )


def _swaps(
    context: Context, batch: Batch, images: Tensor, scored: pd.DataFrame, region: str
) -> Iterator[Made]:
    """The region from a donor of the other subgroup, and from one of the same."""
    assert context.donors is not None
    testing = [name for group in context.tested_on(region) for name in group]
    other, same = context.donors.other[batch.index], context.donors.same[batch.index]
    tested = scored["prediction"].astype(str).isin(testing).to_numpy()
    rows = np.flatnonzero(tested & (other != NO_DONOR) & (same != NO_DONOR))
    if len(rows) == 0:
        return
    mask = context.region_mask(covered(batch)[rows], [region])
    donated = [context.load(chosen[rows]) for chosen in (other, same)]
    donor_masks = [context.region_mask(covered(donors), [region]) for donors in donated]
    # Where neither the picture nor a donor has the region, nothing would be swapped.
    there = (mask | donor_masks[0] | donor_masks[1]).flatten(1).any(1)
    kept = np.flatnonzero(there.cpu().numpy())
    if len(kept) == 0:
        return
    arms = zip((ACT, PLACEBO), (other, same), donated, donor_masks, strict=True)
    for arm, chosen, donors, donor_mask in arms:
        pictures = donors.images[kept].float() / 255
        at = rows[kept]
        trial = swap_trial(arm, at, images[at], mask[kept], pictures, donor_mask[kept])
        yield region, trial, context.samples["sample_id"].iloc[chosen[at]].tolist()


def covered(batch: Batch) -> Tensor:
    """Coverage of a batch that was loaded with masks."""
    assert batch.coverage is not None
    return batch.coverage


def class_ids(context: Context, labels: pd.Series[Any]) -> Tensor:
    """Class ids ``[B]`` (int64, on the model's device) of labels."""
    ids = {name: i for i, name in enumerate(context.classifier.classes)}
    values = [ids[label] for label in labels.astype(str)]
    return torch.tensor(values, dtype=torch.int64, device=context.classifier.device)


def score(context: Context, samples: pd.DataFrame, logits: Tensor) -> pd.DataFrame:
    """Samples with what the model says of them: prediction, score and both margins."""
    names = np.array(context.classifier.classes, dtype=object)
    predicted = logits.argmax(1)
    return samples.assign(
        prediction=names[predicted.cpu().numpy()],
        score=logits.softmax(1).amax(1).cpu().numpy(),
        margin=margin_of(logits, predicted).cpu().numpy(),
        true_margin=margin_of(logits, class_ids(context, samples["label"])).cpu().numpy(),
    )


def _attention(
    context: Context, scored: pd.DataFrame, attribution: Attribution, coverage: Tensor
) -> pd.DataFrame:
    frames = []
    grid = coverage_to_grid(coverage, (attribution.maps.shape[-2], attribution.maps.shape[-1]))
    for k, explained in enumerate(EXPLAINED):
        classes = scored["label"] if explained == "true" else scored["prediction"]
        measures = {"grad-cam": measure(attribution.maps[:, k], grid)}
        if attribution.guided is not None:
            guided = guided_grad_cam(
                attribution.maps[:, k : k + 1], attribution.guided[:, k : k + 1]
            )
            mass = guided[:, 0].abs().sum(1)
            measures["guided-grad-cam"] = measure(mass, coverage)
        for method, attention in measures.items():
            frames.append(
                _attention_rows(context.config, scored, classes, method, explained, attention)
            )
    return pd.concat(frames, ignore_index=True)


def _attention_rows(
    config: Audit,
    scored: pd.DataFrame,
    classes: pd.Series[Any],
    method: str,
    explained: str,
    attention: Attention,
) -> pd.DataFrame:
    regions = config.regions.names
    count, width = len(scored), len(regions)

    def flat(values: Tensor) -> npt.NDArray[Any]:
        return values.cpu().numpy().reshape(-1)

    return pd.DataFrame(
        {
            "sample_id": np.repeat(scored["sample_id"].to_numpy(), width),
            "method": method,
            "explained": explained,
            "target_class": np.repeat(classes.astype(str).to_numpy(), width),
            "region": np.tile(np.array(regions, dtype=object), count),
            "share": flat(attention.share),
            "area": flat(attention.area),
            "rho": flat(attention.rho),
            "pointing": flat(attention.pointing),
            "dead": np.repeat(flat(attention.dead), width),
            "measurable": flat(attention.measurable),
        }
    )


def _drawn(
    batch: Batch, scored: pd.DataFrame, logits: Tensor
) -> tuple[Batch, pd.DataFrame, Tensor]:
    """The part of a batch that was drawn for the interventions."""
    rows = np.flatnonzero(scored["stands_for"] > 0)
    if len(rows) == len(scored):
        return batch, scored, logits
    part = Batch(batch.index[rows], batch.images[rows], covered(batch)[rows])
    return part, scored.iloc[rows].reset_index(drop=True), logits[rows]


def intervene(context: Context, batch: Batch, scored: pd.DataFrame, logits: Tensor) -> pd.DataFrame:
    """The table ``interventions`` of a batch; ``logits`` ``[B, K]``: of the untouched pictures."""
    names = np.array(context.classifier.classes, dtype=object)
    true, predicted = class_ids(context, scored["label"]), logits.argmax(1)
    frames = []
    for (region, trial, donor_ids), altered in answered(context, trials(context, batch, scored)):
        rows = torch.from_numpy(trial.rows).to(predicted.device)
        before = scored.iloc[trial.rows]
        frames.append(
            pd.DataFrame(
                {
                    "sample_id": before["sample_id"].to_numpy(),
                    "region": region,
                    "test": trial.test,
                    "arm": trial.arm,
                    "fill": trial.fill,
                    "donor_id": donor_ids,
                    "area": trial.area,
                    "margin_before": before["margin"].to_numpy(),
                    "margin_after": margin_of(altered, predicted[rows]).cpu().numpy(),
                    "prediction_before": before["prediction"].to_numpy(),
                    "prediction_after": names[altered.argmax(1).cpu().numpy()],
                    "true_margin_before": before["true_margin"].to_numpy(),
                    "true_margin_after": margin_of(altered, true[rows]).cpu().numpy(),
                    "logits_before": _lists(trial, logits[rows]),
                    "logits_after": _lists(trial, altered),
                }
            )
        )
    return _stacked(frames, INTERVENTIONS, [])


def answered(context: Context, made: Iterable[Made]) -> Iterator[tuple[Made, Tensor]]:
    """Trials with the logits of their pictures; as many in one forward as make up a batch."""
    waiting: list[Made] = []
    for one in made:
        pictures = sum(len(trial.rows) for _, trial, _ in (*waiting, one))
        if waiting and pictures > context.config.execution.batch_size:
            yield from _together(context, waiting)
            waiting = []
        waiting.append(one)
    if waiting:
        yield from _together(context, waiting)


def _together(context: Context, made: list[Made]) -> Iterator[tuple[Made, Tensor]]:
    images = [trial.images for _, trial, _ in made]
    logits = context.forward(torch.cat(images))
    return zip(made, torch.split(logits, [len(part) for part in images]), strict=True)


def _lists(trial: Trial, logits: Tensor) -> list[npt.NDArray[np.float32] | None]:
    """A list per picture for the sufficiency test, which needs every class."""
    if trial.test != SUFFICIENCY:
        return [None] * len(logits)
    return list(logits.float().cpu().numpy())


def _maps(scored: pd.DataFrame, attribution: Attribution, coverage: Tensor) -> pd.DataFrame:
    maps = attribution.maps.cpu().numpy()
    height, width = maps.shape[-2:]
    masks = coverage_to_grid(coverage, (height, width)).cpu().numpy().astype(np.float16)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sample_id": scored["sample_id"].to_numpy(),
                    "explained": explained,
                    "target_class": scored[column].astype(str).to_numpy(),
                    "height": height,
                    "width": width,
                    "map": list(maps[:, k].reshape(len(scored), -1)),
                    "masks": list(masks.reshape(len(scored), -1)),
                }
            )
            for k, (explained, column) in enumerate(
                zip(EXPLAINED, ("label", "prediction"), strict=True)
            )
        ],
        ignore_index=True,
    )


def _stacked(frames: list[pd.DataFrame], table: Table, attributes: list[str]) -> pd.DataFrame:
    if not frames:
        return empty(table, attributes if table is SAMPLES else ())
    return pd.concat(frames, ignore_index=True)
