"""The intervention stage of an audit against the bare forwards that it needs.

``python -m tests.benchmarks.interventions CONFIG [--set KEY=VALUE ...] [--rounds 5]``

Stage: masks, placebos, fills, donors, forwards and rows of all altered pictures of the audited
samples, which are decoded beforehand. Bare: as many pictures through the model, in full batches.
Both alternate in one process, on one thread unless ``OMP_NUM_THREADS`` says otherwise. Weights are
random, what they are costs nothing; so are the answers to the untouched pictures, that every class
is predicted.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audit.context import choose_tests, donors_of
from audit.shard import intervene, score
from tests.benchmarks.explain_stage import context_of, seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    context = context_of(chosen.config, dict(pair.split("=", 1) for pair in chosen.set))
    context = replace(
        context,
        guided=False,
        tests=choose_tests(context),
        donors=donors_of(context.config, context.dataset, context.samples),
    )
    ready, answers = [], torch.Generator().manual_seed(0)
    for batch in context.batches(context.audited):
        samples = context.samples.iloc[batch.index].reset_index(drop=True)
        logits = torch.randn(len(samples), len(context.classifier.classes), generator=answers)
        logits = logits.to(context.classifier.device)
        ready.append((batch, score(context, samples, logits), logits))

    def stage() -> int:
        return sum(len(intervene(context, *one)) for one in ready)

    altered, size = stage(), context.config.execution.batch_size
    pictures = torch.rand(size, 3, *context.config.model.input.size)
    pictures = pictures.to(context.classifier.device)

    def bare() -> None:
        for start in range(0, altered, size):
            context.forward(pictures[: altered - start]).cpu()

    rounds = [(seconds(bare), seconds(stage)) for _ in range(chosen.rounds + 1)]
    only, whole = np.array(rounds[1:]).T  # the first warms up
    count = len(context.audited)
    print(
        f"{context.config.model.architecture}, {count} samples, {altered} altered pictures: "
        f"bare {count / np.median(only):.1f}/s, stage {count / np.median(whole):.1f}/s, "
        f"stage at {np.median(only / whole):.0%} of bare "
        f"({np.min(only / whole):.0%} to {np.max(only / whole):.0%})"
    )


if __name__ == "__main__":
    main()
