"""Every classification architecture of torchvision and a list of timm families, random weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models import list_models

from audit.attribution import explain, find_layer
from tests.attribution import nets
from tests.oracles import attribution as oracle

CLASSES = 3
SIDE = {"inception_v3": 96, "maxvit_t": 224, "vit_h_14": 56}  # 64 pixels for the rest
SMALLEST = {  # of each family, in the fast tests
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf"),
    *("regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1"),
    *("swin_t", "swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2"),
}

TIMM = {  # name: whether it is small enough for the fast tests
    **dict.fromkeys(
        (
            *("convnext_atto", "deit_tiny_patch16_224", "edgenext_xx_small", "efficientnet_lite0"),
            *("ghostnet_100", "mobilenetv4_conv_small", "pvt_v2_b0", "regnety_002", "resnet10t"),
            "vit_tiny_patch16_224",
        ),
        True,
    ),
    **dict.fromkeys(
        (
            *("beit_base_patch16_224", "cait_xxs24_224", "deit3_small_patch16_224", "densenet121"),
            *(
                "inception_v4",
                "mixer_s32_224",
                "poolformer_s12",
                "repvgg_a0",
                "vgg11",
                "xception41",
            ),
            *("swin_tiny_patch4_window7_224", "vit_small_patch14_reg4_dinov2"),
        ),
        False,
    ),
}


def torchvision_net(name: str) -> tuple[nn.Module, Tensor]:
    side = SIDE.get(name, 64)
    sized = {"image_size": side} if name.startswith("vit") else {}
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with nets.fixed_seed():
        model = torchvision.models.get_model(
            name, weights=None, num_classes=CLASSES, **sized, **quick
        )
    return model.double().eval(), nets.pictures(2, (side, side), dtype=torch.float64)


def timm_net(name: str) -> tuple[nn.Module, Tensor]:
    timm = pytest.importorskip("timm", reason="timm comes with the extra 'test'")
    side = 56 if "patch14" in name else 128 if name == "inception_v4" else 64
    fixed = any(part in name for part in ("vit_", "deit", "swin", "beit", "cait", "mixer"))
    sized = {"img_size": side} if fixed else {}
    if "swin" in name:
        sized["window_size"] = 2
    with nets.fixed_seed():
        model = timm.create_model(name, pretrained=False, num_classes=CLASSES, **sized)
    model.double().eval()
    # Flash attention has no derivative in a trained bias, which the oracle would ask for.
    return model.requires_grad_(False), nets.pictures(2, (side, side), dtype=torch.float64)


def marked(names: Iterator[tuple[str, bool]]) -> list[object]:
    return [
        pytest.param(name, id=name, marks=() if fast else pytest.mark.exhaustive)
        for name, fast in names
    ]


def alive(model: nn.Module) -> None:
    """Layer scales and heads that begin at nearly zero would hide a wrong gradient."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() < 1e-3:
                parameter.copy_(torch.randn(parameter.shape, generator=nets.seeded(5)) * 0.1 + 0.1)


def check(model: nn.Module, images: Tensor) -> None:
    alive(model)
    before = [len(module._forward_hooks) for module in model.modules()]
    layer = find_layer(model, images)
    targets = torch.tensor([[0, 1], [2, 0]])
    maps = explain(model, images, targets, method="grad-cam", layer=layer)
    assert [len(module._forward_hooks) for module in model.modules()] == before
    assert maps.isfinite().all() and (maps != 0).any()
    height, width = maps.shape[-2:]
    assert height == width and math.prod((height, width)) > 1
    assert_close(maps[0], expected(model, layer, images[:1], targets[0], (height, width)))


def expected(
    model: nn.Module, layer: str, image: Tensor, targets: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Equations 1 and 2 from the Jacobian of the head, whichever way the layer lays its grid."""
    activations = oracle.activations_of(model, layer, image)
    gradients = oracle.jacobian(model, layer, image)[targets]
    tokens = activations.ndim == 3
    if tokens:
        count = math.prod(grid)
        activations = activations[:, -count:].unflatten(1, grid)
        gradients = gradients[:, :, -count:].unflatten(2, grid)
    if tokens or activations.shape[-2:] != grid:
        activations, gradients = activations.movedim(-1, 1), gradients.movedim(-1, 2)
    assert activations.shape[-2:] == grid
    alpha = gradients.sum((-2, -1)) / math.prod(grid)
    return (alpha[..., None, None] * activations).sum(2)[:, 0]


@pytest.mark.parametrize(
    "name",
    marked((name, name in SMALLEST) for name in list_models(module=torchvision.models)),
)
def test_torchvision(name: str) -> None:
    check(*torchvision_net(name))


@pytest.mark.parametrize("name", marked(iter(TIMM.items())))
def test_timm(name: str) -> None:
    check(*timm_net(name))
