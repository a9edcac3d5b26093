"""Preprocessing and the choice of logits, against closed forms."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audit.config import Input
from audit.errors import ModelError
from audit.models.classifier import Classifier, first_tensor, output_columns, two_sided
from tests.models.toys import CPU


def classifier(outputs: list[int]) -> Classifier:
    view = Input(size=(2, 2), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    return Classifier(nn.Identity(), ["a", "b"], outputs, view, CPU)


def test_pixels_are_normalised_per_channel() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    prepared = classifier([0, 1]).prepare(images)
    assert prepared.dtype == torch.float32
    expected = torch.tensor([-1.0, -0.2, 0.5]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(prepared, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_floats_are_pixels_in_0_to_1(dtype: torch.dtype) -> None:
    whole = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    floats = (whole.double() / 255).to(dtype)
    tolerance = 5e-3 if dtype == torch.float16 else 1e-5
    made = classifier([0, 1]).prepare(floats)
    torch.testing.assert_close(made, classifier([0, 1]).prepare(whole), rtol=0, atol=tolerance)


def test_logits_come_in_the_order_of_the_classes() -> None:
    raw = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    assert classifier([2, 0]).logits(raw).tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("outputs", [[0, 1], [1, 0]])
def test_one_logit_gives_two_classes(outputs: list[int]) -> None:
    z = torch.tensor([[-3.0], [0.0], [1.5]], dtype=torch.float64, requires_grad=True)
    logits = classifier(outputs).logits(z)
    negative, positive = logits[:, outputs[0]], logits[:, outputs[1]]
    torch.testing.assert_close(positive - negative, z[:, 0])
    torch.testing.assert_close(logits.softmax(1)[:, outputs[1]], z[:, 0].sigmoid())
    for score, slope in ((negative, -0.5), (positive, 0.5)):
        (gradient,) = torch.autograd.grad(score.sum(), z, retain_graph=True)
        assert torch.equal(gradient, torch.full_like(z, slope))


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_logit_may_come_without_its_axis(shape: tuple[int, ...]) -> None:
    z = torch.linspace(-2, 2, 5)
    expected = torch.stack([-z, z], 1) / 2
    assert torch.equal(classifier([0, 1]).logits(z.reshape(shape)), expected)
    assert output_columns(torch.tensor(1.5)).shape == (1, 1)  # squeezed, of one picture


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_label_s_logit_gives_its_two_sides_and_no_other_counts(label: int) -> None:
    raw = torch.randn(4, 3, requires_grad=True)
    audited = replace(classifier([0, 1]), label_output=label)
    logits = audited.logits(raw)
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], raw[:, label])
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), raw)
    assert gradient.count_nonzero(0).tolist() == [4 * (i == label) for i in range(3)]


LOGITS = torch.ones(1, 2)
OTHER = torch.zeros(1, 3)


@pytest.mark.parametrize(
    "raw",
    [
        LOGITS,
        (LOGITS, OTHER),
        [LOGITS, OTHER],
        ("name", LOGITS, OTHER),
        {"features": OTHER, "logits": LOGITS},
        {"scores": LOGITS, "features": OTHER},
        SimpleNamespace(logits=LOGITS, hidden=OTHER),
    ],
)
def test_logits_are_found_in_containers(raw: Any) -> None:
    assert first_tensor(raw) is LOGITS


@pytest.mark.parametrize("raw", [None, "text", (), {"a": 1}, SimpleNamespace(hidden=OTHER)])
def test_output_without_a_tensor_is_an_error(raw: Any) -> None:
    with pytest.raises(ModelError, match="in which there is no tensor"):
        first_tensor(raw)


def test_several_logits_are_left_alone() -> None:
    logits: Tensor = torch.randn(2, 3)
    assert two_sided(logits) is logits
