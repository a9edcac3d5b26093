"""Train a classifier: one-cycle AdamW, seeded, resumable at every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from audit import config, tables
from audit.data.dataset import Dataset
from audit.errors import DataError, ModelError
from audit.models.augment import augment
from audit.models.classifier import normalise, output_columns, two_sided
from audit.models.feed import Feed, Pictures, Positions, balanced_order, even_batch_size
from audit.models.load import check_output
from audit.models.registry import build
from audit.models.state import Epoch, State
from audit.models.weights import load_all_but_head, read_weights, save_weights
from audit.runs.files import digest_of, file_digest, read_json, write_json

Progress = Callable[[int, int, str], None]
Card = dict[str, Any]


def train_classifier(
    audit: config.Audit,
    dataset: Dataset,
    samples: pd.DataFrame,
    folder: Path,
    device: torch.device,
    *,
    progress: Progress | None = None,
) -> Card:
    """Train the configured classifier and keep the best epoch by validation accuracy.

    Equal accuracies are decided by the validation loss; without validation samples the last epoch
    is kept. Everything random is drawn from (seed, epoch) and the state is written after each
    epoch, so a killed training goes on and ends with the very same weights. On the CPU the same
    seed and number of threads give bit-identical weights.

    Parameters
    ----------
    audit
        The configuration: ``model``, ``seed``, the names of the regions.
    dataset
        Pictures and masks.
    samples
        The data set's samples with their status; quarantined ones are left out.
    folder
        Receives ``model.safetensors`` and ``card.json``; ``training.pt`` while training.
    device
        Where to train.
    progress
        Called with batches done, batches in all, and a line for people.

    Returns
    -------
    The card: what was trained, on what, how, and how well.

    Raises
    ------
    DataError
        If a class has no training sample.
    ModelError
        If the model cannot be built or audited, or its loss stops being finite.
    """
    targets = pd.Index(dataset.classes).get_indexer(pd.Index(samples["label"])).astype(np.int64)
    training, validation = _usable(samples, "train"), _usable(samples, "validation")
    _check_classes(targets[training], dataset.classes)
    card = _described(audit, dataset.classes, samples.iloc[[*training, *validation]])
    finished = _finished(folder, card["digest"])
    if finished is not None:
        (folder / "training.pt").unlink(missing_ok=True)  # killed before it was
        return finished

    settings = audit.model.train
    feed = Feed(
        dataset,
        audit.model.input,
        targets,
        [audit.regions.names.index(name) for name in settings.augment.paint_regions],
        batch_size=even_batch_size(len(training), settings.batch_size),
        workers=audit.execution.workers,
    )
    steps = math.ceil(len(training) / feed.batch_size)
    with _reproducible(device):
        module, fresh = _initial(audit, dataset.classes, device)
        state = State.begin(module, settings, steps)
        state.restore(folder / "training.pt", card["digest"])
        if not state.stopped:
            feed.hold(np.concatenate([training, validation]))
        while not state.stopped:
            started = time.perf_counter()
            epoch = state.epoch + 1
            torch.manual_seed(_seed(audit.seed, epoch))  # dropout and the like
            order = _order(targets[training], len(dataset.classes), settings, (audit.seed, epoch))
            batches = _reported(feed(training[order]), state, steps, progress)
            measured = _train(state, batches, audit, device)
            measured |= _validate(module, feed(validation), audit.model.input, device)
            state.record(measured | {"seconds": round(time.perf_counter() - started, 3)})
            state.save(folder / "training.pt", card["digest"])

    save_weights(state.best, folder / "model.safetensors")
    card |= {
        "fresh_head": fresh,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "history": state.history,
        "best_epoch": state.best_epoch,
        "weights_sha256": file_digest(folder / "model.safetensors"),
    }
    write_json(folder / "card.json", card)
    (folder / "training.pt").unlink(missing_ok=True)
    return card


def _usable(samples: pd.DataFrame, part: str) -> Positions:
    chosen = (samples["part"] == part) & (samples["status"] == tables.OK)
    return np.flatnonzero(chosen.to_numpy()).astype(np.int64)


def _check_classes(targets: Positions, classes: list[str]) -> None:
    absent = [name for index, name in enumerate(classes) if index not in targets]
    if absent:
        raise DataError(
            f"no usable training sample of class(es) {', '.join(absent)}; "
            "see data.train, data.classes and the quarantined samples"
        )


def _described(audit: config.Audit, classes: list[str], used: pd.DataFrame) -> Card:
    """The part of the card that is known before training; its digest names the training."""
    rows = used[["sample_id", "label", "part"]].astype(str).to_numpy().tolist()
    model = audit.model.model_dump(mode="json")
    first = audit.model.initial_weights
    card: Card = {
        "architecture": model["architecture"],
        "arguments": model["arguments"],
        "classes": classes,
        "input": model["input"],
        "training": model["train"],
        "seed": audit.seed,
        "initial_weights_sha256": file_digest(first) if first and first.is_file() else None,
        "samples": {
            part: {name: int(n) for name, n in group["label"].value_counts().items() if n}
            for part, group in used.groupby(used["part"].astype(str))
        },
        "samples_sha256": digest_of(sorted(rows)),
    }
    return card | {"digest": digest_of(card)}


def _finished(folder: Path, digest: str) -> Card | None:
    """The card of an earlier training by the same digest, if its weights are there and whole."""
    path, weights = folder / "card.json", folder / "model.safetensors"
    if not (path.is_file() and weights.is_file()):
        return None
    card: Card = read_json(path)
    same = card.get("digest") == digest and card["weights_sha256"] == file_digest(weights)
    return card if same else None


def _initial(
    audit: config.Audit, classes: list[str], device: torch.device
) -> tuple[nn.Module, list[str]]:
    """The model before the first epoch, and the weights of the head that did not fit it."""
    torch.manual_seed(_seed(audit.seed, 0))
    module = build(audit.model.architecture, audit.model.arguments, len(classes))
    path = audit.model.initial_weights
    fresh = load_all_but_head(module, read_weights(path), path, len(classes)) if path else []
    module = module.to(device).requires_grad_(True).eval()
    # Before hours of training, not after them.
    check_output(module, audit.model, classes, device)
    return module.train(), fresh


def _order(
    targets: Positions, n_classes: int, settings: config.Training, seeds: tuple[int, int]
) -> Positions:
    rng = np.random.default_rng(seeds)
    return (
        balanced_order(targets, n_classes, rng)
        if settings.balance
        else rng.permutation(len(targets))
    )


def _train(
    state: State, pictures: Iterable[Pictures], audit: config.Audit, device: torch.device
) -> Epoch:
    """One epoch; loss and accuracy are of the augmented pictures, as they were seen."""
    settings = audit.model.train
    generator = torch.Generator().manual_seed(_seed(audit.seed, state.epoch + 1))
    state.module.train()
    totals = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in pictures:
        painted = None if batch.painted is None else batch.painted.to(device, non_blocking=True)
        images = batch.images.to(device, non_blocking=True)
        images = augment(images, painted, settings.augment, generator)
        targets = batch.targets.to(device, non_blocking=True)
        logits = _logits(state.module, images, audit.model.input)
        loss = cross_entropy(logits, targets, label_smoothing=settings.label_smoothing)
        state.step(loss)
        totals += _sums(loss, logits, targets)
    n, loss_sum, correct = totals.tolist()
    if not math.isfinite(loss_sum):
        raise ModelError(
            f"training: the loss is not finite in epoch {state.epoch + 1}; "
            "lower model.train.learning_rate"
        )
    return {"train_loss": loss_sum / n, "train_accuracy": correct / n}


@torch.no_grad()
def _validate(
    module: nn.Module, pictures: Iterable[Pictures], view: config.Input, device: torch.device
) -> Epoch:
    """Loss and accuracy on untouched pictures; None where there are none."""
    module.eval()
    totals = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in pictures:
        targets = batch.targets.to(device, non_blocking=True)
        logits = _logits(module, batch.images.to(device, non_blocking=True), view)
        totals += _sums(cross_entropy(logits, targets), logits, targets)
    n, loss_sum, correct = totals.tolist()
    finite = n > 0 and math.isfinite(loss_sum)
    return {
        "validation_loss": loss_sum / n if finite else None,
        "validation_accuracy": correct / n if n else None,
    }


def _logits(module: nn.Module, images: Tensor, view: config.Input) -> Tensor:
    return two_sided(output_columns(module(normalise(images, view))))


def _sums(loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Pictures, summed loss, correct predictions of a batch; on the device, so nothing waits."""
    n = torch.tensor(float(len(targets)), device=loss.device)
    correct = (logits.detach().argmax(dim=1) == targets).sum()
    return torch.stack([n, n * loss.detach(), correct.float()]).double()


def _reported(
    pictures: Iterator[Pictures], state: State, steps: int, progress: Progress | None
) -> Iterator[Pictures]:
    for step, batch in enumerate(pictures, start=1):
        yield batch
        if progress is not None:
            progress(state.epoch * steps + step, state.epochs * steps, state.summary)


def _seed(seed: int, epoch: int) -> int:
    """Independent streams for neighbouring seeds and epochs (epoch 0: the initial weights)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms, and the caller's random state and settings given back.

    Only a warning where CUDA has no deterministic version of a layer, since any architecture may
    come along.
    """
    before = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warn)
