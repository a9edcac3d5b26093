"""From a configuration to a classifier that can be audited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from audit.config import Model
from audit.errors import ConfigError, ModelError
from audit.models.load import load_classifier
from audit.models.registry import build
from tests.models import toys
from tests.models.toys import CPU

SMALL = {"arguments": {"width": 4, "depth": 1}, "input": {"size": [16, 16]}}


def model(**settings: Any) -> Model:
    return Model.model_validate(SMALL | settings)


def own(factory: str, **settings: Any) -> Model:
    return model(architecture=f"tests.models.toys:{factory}", arguments={}, **settings)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_checkpoint_gives_the_same_logits(suffix: str, tmp_path: Path) -> None:
    from audit.models.weights import save_weights

    torch.manual_seed(3)
    trained = build("small-cnn", {"width": 4, "depth": 1}, n_outputs=2).eval()
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(trained.state_dict(), path)
    else:
        save_weights(trained.state_dict(), path)
    loaded = load_classifier(model(checkpoint=path), ["a", "b"], CPU)
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    prepared = loaded.prepare(images)
    assert torch.equal(loaded.logits(loaded.module(prepared)), trained(prepared))
    assert not any(module.training for module in loaded.module.modules())
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())


def test_audited_classes_are_looked_up_among_the_outputs(tmp_path: Path) -> None:
    names = ["cat", "dog", "German shepherd", "été ✓"]
    listed = load_classifier(own("many", outputs=names), ["été ✓", "cat"], CPU)
    assert listed.outputs == [3, 0]
    (tmp_path / "names.txt").write_text("cat\ndog \r\nGerman shepherd\nété ✓\n\n", "utf-8")
    read = load_classifier(own("many", outputs=tmp_path / "names.txt"), ["dog", "été ✓"], CPU)
    assert read.outputs == [1, 3]
    assert read.module.head.out_features == 4


def test_weights_of_the_run_know_the_audit_classes_only(tmp_path: Path) -> None:
    torch.save(toys.Tiny(2).state_dict(), tmp_path / "w.pt")
    settings = own("many", outputs=["x", "y", "z"])
    assert load_classifier(settings, ["b", "a"], CPU, weights=tmp_path / "w.pt").outputs == [0, 1]


def test_single_logit_model_has_two_classes() -> None:
    loaded = load_classifier(own("single_logit", outputs=["no", "yes"]), ["yes", "no"], CPU)
    assert loaded.outputs == [1, 0]
    assert loaded.logits(torch.tensor([[4.0]])).tolist() == [[2.0, -2.0]]


def test_pretrained_factory_keeps_its_weights() -> None:
    torch.manual_seed(5)
    expected = toys.Tiny(1).state_dict()
    torch.manual_seed(5)
    loaded = load_classifier(own("single_logit", pretrained=True), ["a", "b"], CPU)
    assert all(torch.equal(loaded.module.state_dict()[key], expected[key]) for key in expected)


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_outputs_in_containers(kind: str) -> None:
    settings = model(architecture="tests.models.toys:Wrapped", arguments={"kind": kind})
    loaded = load_classifier(settings, ["a", "b"], CPU)
    assert loaded.logits(loaded.module(torch.zeros(2, 3, 16, 16))).shape == (2, 2)


@pytest.mark.parametrize("factory", ["resnet18", "shufflenet_v2_x0_5", "small-cnn"])
def test_fresh_models_are_not_mistaken_for_ending_in_a_softmax(factory: str) -> None:
    settings = model(architecture=factory, arguments={}, input={"size": [32, 32]})
    assert load_classifier(settings, ["a", "b"], CPU).outputs == [0, 1]


@pytest.mark.parametrize(
    ("factory", "settings", "classes", "message"),
    [
        ("softmax", {}, ["a", "b"], "ends in a softmax.*return logits"),
        ("own_softmax", {}, ["a", "b"], "ends in a softmax"),
        ("log_softmax", {}, ["a", "b"], "ends in a log-softmax"),
        ("sigmoid", {}, ["a", "b"], "ends in a sigmoid"),
        ("softmax", {}, ["a", "b", "c"], "has 2 outputs, but there are 3 class names; build it"),
        ("single_logit", {}, ["a", "b", "c"], "has 1 outputs, but there are 3 class names"),
        ("damaged", {}, ["a", "b"], "returns NaN or infinity; are the weights damaged"),
        ("wide", {}, ["a", "b"], r"returns \[2, 2, 16, 16\] for 2 pictures, not \[2, outputs\]"),
        ("fussy", {}, ["a", "b"], r"fails on input \[2, 3, 16, 16\] \(model\.input\.size\)"),
        ("many", {"outputs": ["nurse", "doctor"]}, ["Nurse"], "'Nurse' .*; near it: nurse"),
        ("many", {"outputs": ["u", "v"]}, ["Nurse"], r"among the model's 2 outputs.*are: u, v"),
        ("many", {"outputs": ["crane", "crane"]}, ["crane"], "has it more than once"),
    ],
)
def test_models_that_cannot_be_audited(
    factory: str, settings: dict[str, Any], classes: list[str], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        load_classifier(own(factory, **settings), classes, CPU)
    assert "\n" not in str(raised.value)


def test_outputs_are_listed_only_where_that_helps(tmp_path: Path) -> None:
    torch.save(toys.Tiny(3).state_dict(), tmp_path / "w.pt")
    loaded = own("three", checkpoint=tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"list the names of all outputs in model\.outputs"):
        load_classifier(loaded, ["a", "b"], CPU)
    with pytest.raises(ModelError, match="build it with as many outputs"):
        load_classifier(own("three"), ["a", "b"], CPU, weights=tmp_path / "w.pt")


def test_checkpoint_with_more_classes_says_to_list_them(tmp_path: Path) -> None:
    torch.save(toys.Tiny(1000).state_dict(), tmp_path / "imagenet.pt")
    with pytest.raises(ModelError, match=r"head\.weight is \[1000, 3\].*model\.outputs"):
        load_classifier(own("many", checkpoint=tmp_path / "imagenet.pt"), ["a", "b"], CPU)


def test_missing_file_of_outputs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.outputs: .*absent\.txt cannot be read"):
        load_classifier(own("many", outputs=tmp_path / "absent.txt"), ["a"], CPU)
