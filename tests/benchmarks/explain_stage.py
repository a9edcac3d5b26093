"""The explain stage of an audit against its bare compute.

``python -m tests.benchmarks.explain_stage CONFIG [--set KEY=VALUE ...] [--rounds 5]``

Stage: decode, forward, both maps, region shares, rows and Parquet of all audited samples, no
interventions. Bare: the same batches, decoded and prepared beforehand, through ``attribute``.
Weights are random: what they are costs nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audit.attribution import attribute
from audit.config_file import load_config
from audit.context import (
    Context,
    choose_layer,
    choose_precision,
    usable,
    why_not_guided,
)
from audit.data.dataset import check_dataset, open_dataset
from audit.models.classifier import Classifier
from audit.models.devices import choose_device
from audit.models.load import channels_last
from audit.models.registry import build
from audit.runs.shards import slices, write_shard
from audit.shard import class_ids, measure_shard


def context_of(file: Path, overrides: dict[str, str]) -> Context:
    """Data of a configuration, and its architecture with random weights."""
    config = load_config(file, overrides)
    dataset = open_dataset(config)
    samples, _ = check_dataset(dataset, workers=config.execution.workers)
    device = choose_device(config)
    classes = dataset.classes
    torch.manual_seed(0)
    module = build(config.model.architecture, config.model.arguments, len(classes))
    module = module.to(device).eval().requires_grad_(False)
    channels_last(module, torch.zeros(1, 3, *config.model.input.size, device=device))
    outputs = list(range(len(classes)))
    classifier = Classifier(module, classes, outputs, config.model.input, device)
    layer = choose_layer(config, classifier)
    guided = why_not_guided(config, classifier) is None
    precision = choose_precision(config, classifier, layer)
    context = Context(config, dataset, samples, classifier, layer, guided=guided)
    return replace(context, precision=precision)


def stage(context: Context) -> None:
    """As a run does it, shard by shard."""
    with tempfile.TemporaryDirectory() as folder:
        audited = usable(context.samples, "audit")
        for i, positions in enumerate(slices(audited, context.config.execution.shard_size)):
            write_shard(Path(folder) / str(i), measure_shard(context, positions))


def bare(context: Context) -> Callable[[], None]:
    """The maps alone, of batches that are ready."""
    ready = []
    for batch in context.batches(usable(context.samples, "audit")):
        true = class_ids(context, context.samples["label"].iloc[batch.index])
        ready.append((context.classifier.prepare(batch.images), true))

    def act() -> None:
        for images, true in ready:
            attribute(
                context.classifier.module,
                images,
                lambda logits, true=true: torch.stack([true, logits.argmax(1)], 1),
                layer=context.layer,
                guided=context.guided,
                output=context.classifier.logits,
            )

    return act


def seconds(act: Callable[[], None]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    context = context_of(chosen.config, dict(pair.split("=", 1) for pair in chosen.set))
    count = len(usable(context.samples, "audit"))
    compute = bare(context)
    rounds = []
    for _ in range(chosen.rounds + 1):  # the first warms up
        rounds.append((seconds(compute), seconds(lambda: stage(context))))
    only, whole = np.array(rounds[1:]).T
    print(
        f"{context.config.model.architecture}, {context.precision}, {count} samples: "
        f"bare {count / np.median(only):.1f}/s, stage {count / np.median(whole):.1f}/s, "
        f"stage at {np.median(only / whole):.0%} of bare "
        f"({np.min(only / whole):.0%} to {np.max(only / whole):.0%})"
    )


if __name__ == "__main__":
    main()
