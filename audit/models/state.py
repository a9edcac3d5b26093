"""The state of a training between two epochs: what resuming needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from audit import config
from audit.atomic import replacing
from audit.errors import ModelError
from audit.models.weights import Weights, read_pickled

Epoch = dict[str, float | None]


@dataclass
class State:
    """Model, optimiser, schedule, and the history with the best epoch's weights.

    Parameters
    ----------
    module, optimizer, schedule
        What is trained, how, and the learning rate's schedule (one step per batch).
    epochs, patience
        Epochs in all, and without gain before stopping (0: never).
    history
        One dict per epoch done.
    best_epoch, best
        Number (from 1) and weights, on the CPU, of the best epoch.
    """

    module: nn.Module
    optimizer: AdamW
    schedule: OneCycleLR
    epochs: int
    patience: int
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best: Weights = field(default_factory=dict)

    @classmethod
    def begin(cls, module: nn.Module, settings: config.Training, steps: int) -> State:
        """Before the first of ``settings.epochs`` epochs of ``steps`` batches."""
        # Biases and the scales of normalisation keep their size: decaying them only hurts.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in module.parameters() if p.ndim > 1]},
            {"params": [p for p in module.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = OneCycleLR(
            optimizer, max_lr=settings.learning_rate, total_steps=settings.epochs * steps + 1
        )
        return cls(module, optimizer, schedule, settings.epochs, settings.patience)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def stopped(self) -> bool:
        """Whether all epochs are done, or ``patience`` epochs brought no gain."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= self.epochs or 0 < self.patience <= waited

    @property
    def summary(self) -> str:
        """A line for people."""
        line = f"epoch {self.epoch + 1} of {self.epochs}"
        accuracy = self.history[-1]["validation_accuracy"] if self.history else None
        return line if accuracy is None else f"{line}, validation accuracy {accuracy:.1%}"

    def step(self, loss: Tensor) -> None:
        """One step of the optimiser along the loss's gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()

    def record(self, measured: Epoch) -> None:
        """End an epoch; keep its weights if it is the best."""
        gained = not self.history or _quality(measured) > _quality(
            self.history[self.best_epoch - 1]
        )
        self.history.append(measured)
        if gained or measured["validation_accuracy"] is None:
            self.best_epoch = self.epoch
            weights = self.module.state_dict()
            self.best = {key: value.detach().cpu().clone() for key, value in weights.items()}

    def save(self, path: Path, digest: str) -> None:
        """Write the state, whole or not at all."""
        content = {
            "digest": digest,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best": self.best,
        }
        # To a file of Python's: of one that it opens itself, torch hides why it cannot be written.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)

    def restore(self, path: Path, digest: str) -> None:
        """Go on from a saved state; one of another training (``digest``) is ignored.

        Raises
        ------
        ModelError
            If the file is damaged.
        """
        if not path.is_file():
            return
        content: dict[str, Any] = read_pickled(path)
        if not isinstance(content, dict) or "digest" not in content:
            raise ModelError(f"{path}: not the state of a training; delete it")
        if content["digest"] != digest:
            return
        self.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.history = content["history"]
        self.best_epoch = content["best_epoch"]
        self.best = content["best"]


def _quality(measured: Epoch) -> tuple[float, float]:
    """Validation accuracy, and among equals the smaller loss."""
    accuracy, loss = measured["validation_accuracy"], measured["validation_loss"]
    return (accuracy or 0.0, -float("inf") if loss is None else -loss)
