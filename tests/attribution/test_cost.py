"""What a pass costs, counted in operations and in stored numbers, not in seconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audit.attribution import attribute, explain
from tests.attribution import nets

TARGETS = torch.tensor([[0, 1, 2, 3]])


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return nets.torchvision_net("resnet18").float()


def flops(act: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        act()
    return counter.get_total_flops()


def stored(model: nn.Module, act: Callable[[], object]) -> int:
    """Numbers saved for a backward pass, those of the parameters left out."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        act()
    return sum(sizes.values())


def test_grad_cam_of_four_classes_costs_one_forward(resnet: nn.Module) -> None:
    images = nets.pictures(1, (64, 64))
    with torch.no_grad():
        forward = flops(lambda: resnet(images))
    cost = flops(lambda: explain(resnet, images, TARGETS, method="grad-cam", layer="layer4"))
    assert forward <= cost < 1.001 * forward


def test_guided_beside_grad_cam_costs_one_backward(resnet: nn.Module) -> None:
    images = nets.pictures(1, (64, 64))
    with torch.no_grad():
        forward = flops(lambda: resnet(images))
    cost = flops(
        lambda: attribute(resnet, images, lambda y: y.argmax(1), layer="layer4", guided=True)
    )
    assert cost < 2.001 * forward


def test_grad_cam_of_a_pooled_linear_head_stores_no_activation(resnet: nn.Module) -> None:
    images = nets.pictures(1, (64, 64))
    assert stored(resnet, lambda: resnet(images)) > 64 * 32 * 32  # the first convolution alone
    explained = stored(
        resnet, lambda: explain(resnet, images, TARGETS, method="grad-cam", layer="layer4")
    )
    assert explained == 0
