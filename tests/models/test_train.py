"""Training: that it learns, repeats itself, survives being killed, and says what it did."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audit.config import Audit
from audit.data.dataset import Example
from audit.errors import DataError, ModelError
from audit.models import train
from audit.models.feed import Feed
from audit.models.load import load_classifier
from audit.models.train import Card, Progress, train_classifier
from audit.models.weights import read_weights
from tests.models.toys import CLASSES, CPU, Squares, configuration, squares


class Killed(Exception):
    """Stands in for the end of the process."""


class Gone(Squares):
    """Pictures that cannot be read any more."""

    def load(self, index: int, *, with_masks: bool = True) -> Example:
        raise AssertionError("read again")


def trained(
    folder: Path,
    audit: Audit | None = None,
    dataset: Squares | None = None,
    progress: Progress | None = None,
) -> Card:
    data = dataset or squares()
    return train_classifier(
        audit or configuration(), data, data.samples, folder, CPU, progress=progress
    )


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def test_a_separable_set_is_learned(tmp_path: Path) -> None:
    data = squares(96, 32)
    audit = configuration(epochs=8)
    card = trained(tmp_path, audit, data)
    assert card["history"][card["best_epoch"] - 1]["validation_accuracy"] > 0.95
    classifier = load_classifier(audit.model, CLASSES, CPU, weights=tmp_path / "model.safetensors")
    pictures = [torch.from_numpy(data.load(i).picture.copy()) for i in range(96, 128)]
    images = torch.stack(pictures).permute(0, 3, 1, 2)
    predicted = classifier.logits(classifier.module(classifier.prepare(images))).argmax(dim=1)
    named = [CLASSES[index] for index in predicted.tolist()]
    agree = np.mean(np.array(named) == data.samples["label"][96:].to_numpy())
    assert agree == card["history"][card["best_epoch"] - 1]["validation_accuracy"]


def test_same_seed_same_bytes_and_the_callers_state_is_given_back(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, again, other = (folder(tmp_path, name) for name in ("first", "again", "other"))
    trained(first)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(12)
    trained(again)
    trained(other, configuration(seed=1))
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)


DROPOUT = {"architecture": "tests.models.toys:with_dropout", "arguments": {}}


@pytest.mark.parametrize("killed_after", [1, 2, 3, 4, 8, 9])
@pytest.mark.parametrize("model", [{}, DROPOUT])
def test_killed_training_ends_with_the_same_bytes(
    killed_after: int, model: dict[str, Any], tmp_path: Path
) -> None:
    """3 epochs of 3 batches: killed within the first, at a boundary, and after the last batch."""
    audit = configuration(model)
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    card = trained(whole, audit)
    seen: list[int] = []

    def kill(done: int, total: int, message: str) -> None:
        assert total == 9
        if done == killed_after:
            raise Killed

    def note(done: int, total: int, message: str) -> None:
        seen.append(done)

    with pytest.raises(Killed):
        trained(parts, audit, progress=kill)
    assert not (parts / "model.safetensors").exists()
    resumed = trained(parts, audit, progress=note)
    assert weights(parts) == weights(whole)
    assert seen == list(range(3 * ((killed_after - 1) // 3) + 1, 10))
    assert without_times(resumed) == without_times(card)
    assert sorted(file.name for file in parts.iterdir()) == ["card.json", "model.safetensors"]


def without_times(card: Card) -> Card:
    history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in card["history"]]
    return card | {"history": history}


def test_killed_before_the_card_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(path: Path, value: Card) -> None:
        raise Killed

    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    card = trained(whole)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train, "write_json", kill)
        trained(parts)
    assert without_times(trained(parts, dataset=Gone(squares().samples, CLASSES))) == (
        without_times(card)
    )
    assert weights(parts) == weights(whole)


def test_state_of_another_training_is_not_continued(tmp_path: Path) -> None:
    def kill(done: int, total: int, message: str) -> None:
        if done == 4:
            raise Killed

    parts, whole = folder(tmp_path, "parts"), folder(tmp_path, "whole")
    with pytest.raises(Killed):
        trained(parts, configuration(seed=5), progress=kill)
    assert (parts / "training.pt").exists()
    trained(parts)
    trained(whole)
    assert weights(parts) == weights(whole)


def test_damaged_state_says_so(tmp_path: Path) -> None:
    (tmp_path / "training.pt").write_bytes(b"half a file")
    with pytest.raises(ModelError, match=r"training\.pt: damaged"):
        trained(tmp_path)
    torch.save({"something": "else"}, tmp_path / "training.pt")
    with pytest.raises(ModelError, match=r"training\.pt: not the state of a training; delete it"):
        trained(tmp_path)


def test_finished_training_is_not_repeated_unless_something_changed(tmp_path: Path) -> None:
    steps: list[int] = []

    def note(done: int, total: int, message: str) -> None:
        steps.append(done)

    card = trained(tmp_path)
    assert trained(tmp_path, progress=note) == card
    assert steps == []
    (tmp_path / "model.safetensors").write_bytes(b"altered")
    trained(tmp_path, progress=note)
    assert len(steps) == 9
    trained(tmp_path, configuration(learning_rate=0.02), progress=note)
    assert len(steps) == 18


def test_card_says_what_was_trained(tmp_path: Path) -> None:
    card = trained(tmp_path, dataset=squares(30, 10, red=0.2))
    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert card["classes"] == CLASSES
    assert card["samples"] == {
        "train": {"red": 6, "blue": 24},
        "validation": {"red": 2, "blue": 8},
    }
    assert card["architecture"] == "small-cnn"
    assert card["seed"] == 0
    # convolutions 3-4, 4-8, 8-16 of 3 x 3, scale and shift of each, and the head
    assert card["parameters"] == 9 * (12 + 32 + 128) + 2 * (4 + 8 + 16) + 16 * 2 + 2
    assert re.fullmatch("[0-9a-f]{64}", card["weights_sha256"])
    measures = ["seconds", "train_accuracy", "train_loss", "validation_accuracy", "validation_loss"]
    assert [sorted(epoch) for epoch in card["history"]] == [measures] * 3


def test_samples_hash_follows_ids_and_labels_not_the_order(tmp_path: Path) -> None:
    hashes = []
    data = squares()
    turned = Squares(data.samples[::-1].reset_index(drop=True), CLASSES)
    relabelled = Squares(data.samples.assign(label=data.samples["label"].to_list()[::-1]), CLASSES)
    for index, dataset in enumerate((data, turned, relabelled)):
        card = trained(folder(tmp_path, str(index)), configuration(epochs=1), dataset)
        hashes.append(card["samples_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_best_epoch_is_kept_and_patience_ends_the_training(tmp_path: Path) -> None:
    card = trained(tmp_path, configuration(epochs=30, patience=2, learning_rate=0.05))
    history = card["history"]
    ranks = [(epoch["validation_accuracy"], -epoch["validation_loss"]) for epoch in history]
    assert card["best_epoch"] == 1 + ranks.index(max(ranks))
    assert len(history) == card["best_epoch"] + 2 < 30


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    card = trained(tmp_path, dataset=squares(32, 0))
    assert card["best_epoch"] == 3
    assert {epoch["validation_accuracy"] for epoch in card["history"]} == {None}
    assert "NaN" not in (tmp_path / "card.json").read_text()


def test_quarantined_samples_are_left_out(tmp_path: Path) -> None:
    whole, less = squares(40, 8), squares(40, 8)
    less.samples.loc[[0, 39, 41], "status"] = "quarantined"
    fewer = Squares(less.samples.drop([0, 39, 41]).reset_index(drop=True), CLASSES)
    cards = [
        trained(folder(tmp_path, "a"), dataset=less),
        trained(folder(tmp_path, "b"), dataset=fewer),
    ]
    assert cards[0]["samples_sha256"] == cards[1]["samples_sha256"]
    assert cards[0]["samples"]["train"] == {"blue": 19, "red": 19}
    assert trained(folder(tmp_path, "c"), dataset=whole)["samples"]["train"]["red"] == 20


def test_class_without_a_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no usable training sample of class\(es\) red"):
        trained(tmp_path, dataset=squares(red=0))


def test_diverging_training_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not finite in epoch \d; lower model\.train\.learning"):
        trained(tmp_path, configuration(learning_rate=1e38))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("tests.models.toys:softmax", "ends in a softmax"),
        ("tests.models.toys:wide", r"returns \[2, 2, 24, 24\] for 2 pictures"),
        ("tests.models.toys:three", "has 3 outputs, but there are 2 class names; build it with as"),
        ("tests.models.toys:damaged", "returns NaN or infinity"),
        ("alexnet", r"alexnet: fails on input \[2, 3, 24, 24\] \(model\.input\.size\)"),
    ],
)
def test_a_model_that_cannot_be_audited_is_not_trained(
    architecture: str, message: str, tmp_path: Path
) -> None:
    unread = Gone(squares().samples, CLASSES)
    with pytest.raises(ModelError, match=message):
        trained(tmp_path, configuration({"architecture": architecture, "arguments": {}}), unread)


def test_pictures_in_memory_and_decoded_ones_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = configuration(augment={"paint_regions": ["square"], "paint_probability": 0.5})
    held, decoded = folder(tmp_path, "held"), folder(tmp_path, "decoded")
    trained(held, audit)
    monkeypatch.setattr(train, "Feed", functools.partial(Feed, memory=0))
    trained(decoded, audit)
    assert weights(held) == weights(decoded)


def test_painting_the_only_cue_leaves_nothing_to_learn(tmp_path: Path) -> None:
    data = squares(96, 32)
    painted = {"paint_regions": ["square"], "paint_probability": 1.0}
    card = trained(tmp_path, configuration(epochs=6, augment=painted), data)
    assert card["history"][-1]["train_accuracy"] < 0.75


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    trained(first, configuration(epochs=8))
    start = {"initial_weights": first / "model.safetensors"}
    card = trained(second, configuration(start, epochs=1, learning_rate=1e-9))
    assert card["fresh_head"] == []
    before, after = (read_weights(at / "model.safetensors") for at in (first, second))
    for key, value in before.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(after[key], value, rtol=0, atol=1e-6)


def test_single_batch_and_single_epoch(tmp_path: Path) -> None:
    card = trained(tmp_path, configuration(epochs=1, batch_size=64), squares(2, 0))
    assert len(card["history"]) == 1


@pytest.mark.parametrize("arguments", [{"num_classes": 1}])
def test_single_logit_is_trained_as_two_classes(arguments: dict[str, int], tmp_path: Path) -> None:
    model = {"arguments": {"width": 4, "depth": 1} | arguments}
    card = trained(tmp_path, configuration(model, epochs=8), squares(96, 32))
    assert card["history"][card["best_epoch"] - 1]["validation_accuracy"] > 0.95
