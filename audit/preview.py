"""What an audit will do, found out on a handful of samples in seconds."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from audit.config import Audit, Boxes, Landmarks
from audit.context import (
    Context,
    choose_layer,
    choose_precision,
    choose_tests,
    donors_of,
    usable,
    why_not_guided,
    why_this_layer,
)
from audit.data.copies import compare_anew
from audit.data.dataset import Dataset, check_dataset, open_dataset, quarantine_limit
from audit.data.images import read_picture
from audit.data.presence import absent_regions, missing_files
from audit.data.reasons import Kind
from audit.gate import read_waivers
from audit.interventions import check_fills
from audit.interventions.draw import draw
from audit.interventions.trials import SUFFICIENCY
from audit.models.classifier import Classifier
from audit.models.devices import choose_device
from audit.models.load import check_output, load_classifier
from audit.models.registry import build
from audit.shard import measure_shard
from audit.tables import OK, QUARANTINED, attribute_column, attributes_of

TRIED = 32  # samples decoded, explained and altered


@dataclass(frozen=True)
class Preview:
    """Facts by name, samples per cell, and what a user should know before the run."""

    facts: dict[str, str]
    cells: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        return asdict(self)


def preview(config: Audit) -> Preview:
    """Check a configuration end to end on a few samples of each part.

    Raises
    ------
    CuecheckError
        Whatever would stop the run.
    """
    if config.policy.waivers is not None:
        read_waivers(config.policy.waivers)
    check_fills(config.interventions.fills)
    compare_anew()
    dataset = open_dataset(config)
    quarantine_limit(dataset.samples, config.data.max_bad_fraction)
    few = dataset.subset(_some(dataset))
    samples, properties = check_dataset(few, workers=config.execution.workers)
    if (samples["status"] == QUARANTINED).all():
        quarantine_limit(samples, 0)
    classifier = _classifier(config, dataset.classes)
    layer = choose_layer(config, classifier)
    refusal = why_not_guided(config, classifier)
    precision = choose_precision(config, classifier, layer)
    context = Context(config, few, samples, classifier, layer, precision=precision)
    context = replace(
        context,
        tests=choose_tests(context),
        donors=donors_of(config, few, samples),
        guided=refusal is None,
    )
    started = time.perf_counter()
    measure_shard(context, context.audited)
    seconds = (time.perf_counter() - started) / max(len(context.audited), 1)
    return Preview(
        facts=_facts(config, dataset, context, seconds),
        cells=_cells(dataset.samples),
        warnings=_warnings(config, dataset, context.tests, samples)
        + _shared_clusters(dataset.samples)
        + missing_files(config, dataset)
        + absent_regions(config, few, samples, properties)
        + _ambiguous_masks(config, few, samples)
        + ([f"no Guided Grad-CAM: {refusal}"] if refusal else []),
    )


def _some(dataset: Dataset) -> Any:
    """Evenly spaced positions, at most ``TRIED`` of each of the audit and training parts."""
    chosen = []
    for part in ("audit", "train"):
        positions = usable(dataset.samples, part)
        spaced = np.linspace(0, max(len(positions) - 1, 0), TRIED).round().astype(int)
        chosen.append(positions[np.unique(spaced)] if len(positions) else positions)
    return np.concatenate(chosen)


def _classifier(config: Audit, classes: list[str]) -> Classifier:
    if not config.model.trains:
        labels = list(config.data.label_columns)
        return load_classifier(config.model, classes, choose_device(config), labels=labels)
    device = choose_device(config)
    module = build(config.model.architecture, config.model.arguments, len(classes))
    module = module.eval().requires_grad_(False).to(device)
    check_output(module, config.model, classes, device)
    return Classifier(
        module=module,
        classes=classes,
        outputs=list(range(len(classes))),
        input=config.model.input,
        device=device,
    )


def _facts(config: Audit, dataset: Dataset, context: Context, seconds: float) -> dict[str, str]:
    audit_part = usable(dataset.samples, "audit")
    audited = len(audit_part)
    drawn = int((draw(dataset.samples, config)[audit_part] > 0).sum())
    origin = "trained by the run" if config.model.trains else "loaded"
    height, width = config.model.input.size
    return {
        "audit": config.name,
        "samples": ", ".join(
            f"{len(usable(dataset.samples, part))} {part}"
            for part in ("train", "validation", "audit")
        ),
        "classes": ", ".join(dataset.classes),
        "regions": ", ".join(
            f"{name} ({config.regions.role(name, dataset.classes[0])})"
            for name in config.regions.names
        ),
        "model": f"{config.model.architecture}, {origin}, input {height}x{width}, "
        f"{context.precision} up to the layer",
        "layer": why_this_layer(config, context.classifier),
        "tests": ", ".join(f"{region} by {test}" for region, test in context.tests.items())
        or "none",
        "altered": f"{drawn:,} of {audited:,} audited samples (interventions.per_cell)",
        "cost": f"{'at most' if drawn < audited else 'about'} {seconds * audited:.0f} s "
        "to explain and intervene on this device"
        + (f", after {config.model.train.epochs} epochs of training" if config.model.trains else "")
        + _not_counted(config, audited),
    }


def _not_counted(config: Audit, audited: int) -> str:
    """What else a run spends time on, in words."""
    checks, discovery = config.checks, config.discovery
    left_out = []
    if checks.enabled:
        left_out.append(f"the checks of the explainer ({min(checks.samples, audited)} pictures)")
    if discovery.enabled:
        left_out.append(f"the search for cues ({min(discovery.samples, audited)} pictures)")
    return f"; besides, not counted: {' and '.join(left_out)}" if left_out else ""


def _cells(samples: pd.DataFrame) -> list[dict[str, Any]]:
    audited = samples.iloc[usable(samples, "audit")]
    cells = []
    for columns in [["label"], *(["label", attribute_column(a)] for a in attributes_of(samples))]:
        for key, cell in audited.groupby(columns, observed=True):
            names = [str(k) for k in key]
            cells.append(
                {
                    "cell": " x ".join(names),
                    "samples": len(cell),
                    "clusters": int(cell["cluster_id"].nunique()),
                }
            )
    return cells


def _warnings(
    config: Audit, dataset: Dataset, tests: dict[str, str], samples: pd.DataFrame
) -> list[str]:
    audited = dataset.samples.iloc[usable(dataset.samples, "audit")]
    found = []
    for target_class in dataset.classes:
        if not config.required_regions(target_class):
            found.append(f"no region is forbidden for '{target_class}': nothing can fail there")
        clusters = audited.loc[audited["label"].astype(str) == target_class, "cluster_id"].nunique()
        if clusters < config.policy.min_clusters:
            found.append(
                f"'{target_class}' has {clusters} clusters, a verdict needs "
                f"{config.policy.min_clusters}: its findings will be INCONCLUSIVE"
            )
    core = [c for c in dataset.classes if config.regions.with_role("core", c)]
    for region, test in tests.items():
        if test == SUFFICIENCY and not core:
            found.append(f"'{region}' leaves no room for a placebo and no core region is named")
    bad = samples.loc[samples["status"] != "ok", "reason"]
    found += [f"a sample would be quarantined: {reason}" for reason in bad.unique()[:5]]
    return found


def _shared_clusters(samples: pd.DataFrame) -> list[str]:
    clusters = {
        part: set(samples["cluster_id"].iloc[usable(samples, part)])
        for part in ("train", "validation", "audit")
    }
    shared = clusters["audit"] & (clusters["train"] | clusters["validation"])
    if not shared:
        return []
    return [
        f"training and audit share {len(shared)} clusters, e.g. '{min(shared)}': "
        "the model may know them by heart"
    ]


def _ambiguous_masks(config: Audit, few: Dataset, samples: pd.DataFrame) -> list[str]:
    if isinstance(config.regions.source, Boxes | Landmarks):
        return []
    paths = few.rows.loc[samples["status"] == OK, few.path_column]
    frames = [
        read_picture(few.files.find(path, Kind.MISSING_IMAGE), max_pixels=few.max_pixels)[1]
        for path in paths
    ]
    count = sum(frame.ambiguous for frame in frames)
    if not count:
        return []
    return [
        f"{count} of {len(frames)} pictures tried are turned by EXIF, and the size of a mask does "
        "not tell whether it is turned too: masks are taken as upright"
    ]
