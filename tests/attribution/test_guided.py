"""Guided backpropagation against ReLUs whose backward is written out, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from audit.attribution import attribute, explain, guided_grad_cam, guided_refusal, upsample
from audit.errors import ModelError
from tests.attribution import nets
from tests.oracles import attribution as oracle

EXACT = {"rtol": 0, "atol": 1e-12}
TARGETS = [3, 0, 1]


def reference(form: str) -> Callable[[], nets.Activation]:
    relu = oracle.guided_relu6 if "6" in form else oracle.guided_relu
    return lambda: relu


def guided(model: nn.Module, images: Tensor) -> Tensor:
    return explain(model, images, TARGETS, method="guided-backprop")


@pytest.mark.parametrize("form", nets.RELUS)
def test_every_form_of_relu(form: str) -> None:
    images = 20 * nets.pictures(dtype=torch.float64)  # so that ReLU6 saturates
    model = nets.ready(nets.Net(nets.norm_head(), nets.RELUS[form]))
    twin = nets.ready(nets.Net(nets.norm_head(), reference(form)))
    expected = oracle.gradient(twin, images, TARGETS)
    assert_close(guided(model, images), expected, **EXACT)
    plain = oracle.gradient(model, images, TARGETS)
    assert (expected - plain).norm() > 0.1 * plain.norm()


@pytest.mark.parametrize("form", [form for form in nets.RELUS if "place" not in form])
def test_skip_from_a_relus_input(form: str) -> None:
    images = 20 * nets.pictures(dtype=torch.float64)
    model, twin = (nets.ready(nets.Skip(a)) for a in (nets.RELUS[form], reference(form)))
    assert_close(guided(model, images), oracle.gradient(twin, images, TARGETS), **EXACT)


@pytest.mark.parametrize("name", nets.ARCHITECTURES)
def test_torchvision(name: str) -> None:
    model = nets.torchvision_net(name)
    images = nets.pictures(2, (64, 64), dtype=torch.float64)
    found = explain(model, images, [3, 0], method="guided-backprop")
    with oracle.guided_functions():
        assert_close(found, oracle.gradient(model, images, [3, 0]))


def test_checkpoint_without_reentry_is_followed() -> None:
    class Checkpointed(nets.Net):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = checkpoint(super().forward, x, use_reentrant=False)
            return y

    images = nets.pictures(dtype=torch.float64)
    model, plain = nets.ready(Checkpointed(nets.mlp_head())), nets.ready(nets.Net(nets.mlp_head()))
    assert_close(guided(model, images), guided(plain, images), **EXACT)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        return x * 2

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return grad * 2


def _write_to_view(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2].relu_()
    return x


REFUSED: dict[str, nets.Activation] = {
    "SiLU": F.silu,
    "GELU": F.gelu,
    "Hardswish": F.hardswish,
    "Mish": F.mish,
    "ELU": F.elu,
    "SELU": F.selu,
    "LeakyReLU": F.leaky_relu,
    "PReLU": nn.PReLU(),
    "Tanh": torch.tanh,
    "Softplus": F.softplus,
    "Hardtanh": F.hardtanh,
    "elementwise maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "clamp between tensors": lambda x: x.clamp(min=torch.zeros_like(x)),
    "in-place write to a view": _write_to_view,
    "custom autograd function Product": Product.apply,
    "checkpointed with use_reentrant=True": lambda x: checkpoint(F.relu, x, use_reentrant=True),
    "no ReLU": lambda x: x,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["guided-backprop", "guided-grad-cam"])
def test_refused_by_name_and_grad_cam_is_not(name: str, method: str) -> None:
    relu = nn.Identity() if name == "no ReLU" else nn.ReLU()
    model = nets.Net(activation=lambda: relu, after=REFUSED[name]).double()
    images = nets.pictures(dtype=torch.float64)
    refusal = guided_refusal(model, images)
    assert refusal is not None and name in refusal
    with pytest.raises(ModelError) as error:
        explain(model, images, TARGETS, method=method, layer="features")
    assert str(error.value) == refusal
    if "checkpoint" not in name:
        explain(model, images, TARGETS, method="grad-cam", layer="features")


def test_defined_for_clamps_that_are_no_rectifiers() -> None:
    class Normalised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(x.flatten(1)[:, : nets.CLASSES], eps=0.1)

    images = nets.pictures(dtype=torch.float64)
    assert guided_refusal(nets.Net(Normalised()).double(), images) is None
    model, twin = (
        nets.ready(nets.Net(Normalised(), activation))
        for activation in (nn.ReLU, reference("ReLU"))
    )
    assert_close(guided(model, images), oracle.gradient(twin, images, TARGETS), **EXACT)


@pytest.mark.parametrize("head", [nets.Gap, nets.mlp_head])
def test_grad_cam_is_the_same_beside_the_guided_pass(head: Callable[[], nn.Module]) -> None:
    model, images = nets.ready(nets.Net(head())), nets.pictures(dtype=torch.float64)
    targets = torch.tensor([[3, 1], [0, 0], [2, 4]])
    plain, both = (
        attribute(model, images, lambda _: targets, layer="features", guided=guided)
        for guided in (False, True)
    )
    assert plain.guided is None and both.guided is not None
    assert_close(both.maps, plain.maps, **EXACT)
    assert_close(both.logits, plain.logits, **EXACT)
    assert_close(both.guided[:, 0], explain(model, images, targets[:, 0], method="guided-backprop"))
    product = explain(model, images, targets, method="guided-grad-cam", layer="features")
    assert_close(guided_grad_cam(both.maps, both.guided), product, **EXACT)


def test_guided_grad_cam_is_the_product_per_pixel() -> None:
    maps, guided = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 3, 16, 20)
    product = guided_grad_cam(maps, guided)
    for b, k, c in [(0, 0, 0), (1, 2, 1), (0, 1, 2)]:
        wanted = guided[b, k, c] * upsample(maps[b, k].relu(), (16, 20))
        assert_close(product[b, k, c], wanted)
    with pytest.raises(ValueError, match=r"maps \[2, 4, 5\] and guided \[2, 3, 3, 16, 20\]"):
        guided_grad_cam(maps[:, 0], guided)
