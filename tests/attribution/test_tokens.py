"""Skipping tokens changes what going back costs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import VisionTransformer

from audit.attribution import explain
from audit.attribution.graph import depends
from audit.attribution.tokens import TokensSkipped
from tests.attribution import nets
from tests.attribution.test_cost import flops

LAYER = "encoder.layers.encoder_layer_1.ln_1"
TARGETS = torch.tensor([[0, 1, 2]])

Score = Callable[[Tensor], Tensor]
SCORES: dict[str, Score] = {
    "the first token": lambda tokens: tokens[:, 0].sum(1).exp(),
    "two of seven": lambda tokens: tokens[:, [1, 4]].prod(1).sum(1),
    "all": lambda tokens: tokens.square().sum((1, 2)),
    "none": lambda tokens: (0 * tokens).sum((1, 2)),
}


def transformer() -> nn.Module:
    torch.manual_seed(0)
    model = VisionTransformer(32, 4, 2, 2, 16, 64, num_classes=3)
    nn.init.normal_(model.heads.head.weight)
    return model.eval()


def weights() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 4, generator=nets.seeded(0)), torch.randn(5, generator=nets.seeded(1))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_is_that_of_the_plain_layer(score: Score, bias: bool) -> None:
    weight, shift = (tensor.double() for tensor in weights())
    tokens = torch.randn(2, 7, 4, generator=nets.seeded(2)).double().requires_grad_()

    def gradient() -> Tensor:
        output = F.linear(tokens, weight, bias=shift if bias else None)
        (found,) = torch.autograd.grad(score(output).sum(), tokens)
        return found

    with TokensSkipped():
        skipped = gradient()
    torch.testing.assert_close(skipped, gradient(), rtol=1e-12, atol=1e-12)


def test_arguments_by_name_are_taken_in_any_order() -> None:
    weight, shift = weights()
    tokens = torch.randn(2, 7, 4, generator=nets.seeded(3)).requires_grad_()
    with TokensSkipped():
        found = F.linear(bias=shift, weight=weight, input=tokens)
        torch.testing.assert_close(found, F.linear(tokens, bias=shift, weight=weight))
    torch.testing.assert_close(found, F.linear(tokens, weight, shift))


def test_only_the_class_token_of_the_last_block_is_sent_back() -> None:
    model = transformer().requires_grad_(False)
    images = nets.pictures(1, (32, 32)).float()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know it
    try:
        forward = flops(lambda: model(images))
        one, three = (
            flops(
                lambda k=k: explain(model, images, TARGETS[:, :k], method="grad-cam", layer=LAYER)
            )
            for k in (1, 3)
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    per_class = (three - one) / 2
    block = forward / 2
    assert per_class < 0.6 * block  # the attention, and next to nothing of the two linear layers
    assert one - forward == pytest.approx(per_class)


def test_layers_that_learn_are_left_alone() -> None:
    weight, _ = weights()
    weight.requires_grad_()
    tokens = torch.ones(1, 3, 4, requires_grad=True)
    with TokensSkipped():
        F.linear(tokens, weight)[:, 0].sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, torch.ones(5, 4))


def test_a_missing_number_reaches_every_token_that_matters() -> None:
    weight, shift = weights()
    tokens = torch.ones(1, 6, 4, requires_grad=True)
    with TokensSkipped():
        score = F.linear(tokens, weight, shift)[:, 2].sum()
    found = depends(score, tokens)
    assert found is not None
    assert found.any(2).tolist() == [[False, False, True, False, False, False]]


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = checkpoint(self.inner, x, use_reentrant=False)
        return found


def test_a_checkpoint_in_the_head_is_followed() -> None:
    plain, checkpointed = transformer(), transformer()
    block = checkpointed.get_submodule("encoder.layers.encoder_layer_1")
    block.mlp = Checkpointed(block.get_submodule("mlp"))
    images = nets.pictures(2, (32, 32)).float()
    maps = [
        explain(model, images, TARGETS.repeat(2, 1), method="grad-cam", layer=LAYER)
        for model in (plain, checkpointed)
    ]
    torch.testing.assert_close(*maps)
