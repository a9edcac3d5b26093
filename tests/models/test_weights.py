"""State dicts: what is read, what is refused and how it is said."""

from __future__ import annotations

import fractions
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from audit.errors import ModelError
from audit.models.registry import build
from audit.models.weights import load_all_but_head, load_weights, read_weights, save_weights

Weights = dict[str, Tensor]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return build("small-cnn", {"width": 4, "depth": 1}, n_outputs=2)


def assert_same(found: Weights, wanted: Weights) -> None:
    assert list(found) == list(wanted) or set(found) == set(wanted)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert all(found[key].dtype == wanted[key].dtype for key in wanted)


def test_saved_weights_come_back_exactly(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(model.state_dict(), path)
    assert_same(read_weights(path), model.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    other = build("small-cnn", {"width": 4, "depth": 1}, n_outputs=2)
    load_weights(other, read_weights(path), path)
    assert_same(other.state_dict(), model.state_dict())


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    save_weights({"a": shared, "b": shared[:2]}, tmp_path / "w.safetensors")
    assert_same(read_weights(tmp_path / "w.safetensors"), {"a": shared, "b": shared[:2]})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": weights, "optimizer": {"lr": 0.1}},
        lambda weights: {"model_state_dict": weights},
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: {f"_orig_mod.{key}": value for key, value in weights.items()},
        lambda weights: {f"module._orig_mod.{key}": value for key, value in weights.items()},
        lambda weights: {f"_orig_mod.module.{key}": value for key, value in weights.items()},
        lambda weights: {"state_dict": {f"module.{k}": v for k, v in weights.items()}},
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_usual_wrappers_and_prefixes_are_taken_off(
    wrap: Callable[[Weights], Any], suffix: str, model: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(model.state_dict()), path)
    other = build("small-cnn", {"width": 4, "depth": 1}, n_outputs=2)
    load_weights(other, read_weights(path), path)
    assert_same(other.state_dict(), model.state_dict())


def test_safetensors_prefix_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"module.weight": torch.ones(2, 3)}, path)
    linear = nn.Linear(3, 2, bias=False)
    load_weights(linear, read_weights(path), path)
    assert linear.weight.tolist() == torch.ones(2, 3).tolist()


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_a_name_of_the_model_itself_is_no_prefix(prefix: str) -> None:
    """Its keys start with ``module.``, whether or not it was wrapped when it was saved."""
    saved = nn.ModuleDict({"module": nn.Linear(3, 7)})
    wrapped = {f"{prefix}{key}": value for key, value in saved.state_dict().items()}
    same, other = (
        nn.ModuleDict({"module": nn.Linear(3, 7)}),
        nn.ModuleDict({"module": nn.Linear(3, 2)}),
    )
    load_weights(same, wrapped, Path("w.pt"))
    assert_same(same.state_dict(), saved.state_dict())
    fresh = load_all_but_head(other, wrapped, Path("w.pt"), n_outputs=2)
    assert fresh == ["module.weight", "module.bias"]


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_named_and_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": Trap(tmp_path / "ran")}}, tmp_path / "trap.pt")
    with pytest.raises(ModelError, match=r"trap\.pt: holds Python code .*state_dict\(\) alone"):
        read_weights(tmp_path / "trap.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("code", [print, Path("x"), fractions.Fraction(1, 2)])
def test_any_python_object_is_refused(code: Any, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": code}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="holds Python code"):
        read_weights(tmp_path / "odd.pt")


def test_a_whole_pickled_model_is_refused(model: nn.Module, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "whole.pt")
    with pytest.raises(ModelError, match=r"small_cnn\.SmallCNN.*save model\.state_dict\(\)"):
        read_weights(tmp_path / "whole.pt")


def test_truncated_checkpoints_are_called_damaged(model: nn.Module, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    for part in (0, 1, 10, len(content) // 2, len(content) - 10):
        (tmp_path / "part.pt").write_bytes(content[:part])
        with pytest.raises(ModelError, match="damaged, or not written by"):
            read_weights(tmp_path / "part.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pt", None, r"absent\.pt: no such file"),
        ("text.pt", b"hello", "damaged, or not written by torch.save"),
        ("pickle.pt", pickle.dumps({"a": 1}, protocol=2), "'a' is not a tensor|damaged"),
        ("text.safetensors", b"hello world", "not readable as safetensors"),
        ("empty.safetensors", b"", "not readable as safetensors"),
    ],
)
def test_files_that_are_no_checkpoint(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as raised:
        read_weights(tmp_path / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds dict, not a state dict"),
        ([torch.ones(1)], "holds list, not a state dict"),
        ({"lr": 0.1}, "'lr' is not a tensor"),
        ({"a": torch.ones(1), 3: 4}, "'3' is not a tensor"),
        ({3: torch.ones(1)}, "not a state dict, its key 3 is not a name"),
    ],
)
def test_content_that_is_no_state_dict(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match=message):
        read_weights(tmp_path / "odd.pt")


def without(weights: Weights, *keys: str) -> Weights:
    return {key: value for key, value in weights.items() if key not in keys}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: without(w, "head.bias"), r"missing: head\.bias\. Give the architecture"),
        (lambda w: w | {"extra": torch.ones(1)}, r"unexpected: extra\. Give"),
        (lambda w: {f"net.{k}": v for k, v in w.items()}, r"missing: .* and \d+ more; unexpected"),
        (
            lambda w: w | {"head.weight": torch.ones(1000, 16)},
            r"head\.weight is \[1000, 16\] in the file, \[2, 16\] in the model.*model\.outputs",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[Weights], Weights], message: str, model: nn.Module
) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        load_weights(model, change(model.state_dict()), Path("w.pt"))
    assert "\n" not in str(raised.value)


def test_only_a_head_of_other_classes_may_differ_when_training_starts(model: nn.Module) -> None:
    other = build("small-cnn", {"width": 4, "depth": 1}, n_outputs=7).state_dict()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fresh = load_all_but_head(model, other, Path("w.pt"), n_outputs=2)
    assert fresh == ["head.weight", "head.bias"]
    after = model.state_dict()
    assert_same({key: after[key] for key in fresh}, {key: before[key] for key in fresh})
    assert_same(without(after, *fresh), without(other, *fresh))

    wider = build("small-cnn", {"width": 8, "depth": 1}, n_outputs=2).state_dict()
    with pytest.raises(ModelError, match="other shapes"):
        load_all_but_head(model, wider, Path("w.pt"), n_outputs=2)
