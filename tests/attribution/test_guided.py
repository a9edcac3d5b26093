"""Guided backpropagation against ReLUs whose backward is written out, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from audit.attribution import attribute, explain, guided_grad_cam, guided_refusal, upsample
from audit.attribution.probabilities import probabilities_skipped
from audit.attribution.rectifiers import guided as guided_rule
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


SMALL = {"weights": None, "num_classes": nets.CLASSES}
RELU_ONLY = [
    *("alexnet", "densenet121", "googlenet", "inception_v3", "mnasnet0_5", "mobilenet_v2"),
    *("regnet_x_400mf", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5"),
    *("squeezenet1_1", "vgg11_bn", "wide_resnet50_2"),
]
OTHERS = {
    "convnext_tiny": "GELU",
    "efficientnet_b0": "SiLU, Sigmoid",
    "mobilenet_v3_small": "Hardsigmoid, Hardswish",
    "regnet_y_400mf": "Sigmoid",
}


def unweighted(name: str) -> nn.Module:
    slow = {"init_weights": False} if name in ("googlenet", "inception_v3", "vgg11_bn") else {}
    model: nn.Module = torchvision.models.get_model(name, **SMALL, **slow)
    return model


@pytest.mark.parametrize("name", RELU_ONLY)
def test_defined_for_architectures_of_relus(name: str) -> None:
    assert guided_refusal(unweighted(name), nets.pictures(1, (96, 96))) is None


@pytest.mark.parametrize("name", OTHERS)
def test_undefined_for_architectures_with_other_activations(name: str) -> None:
    refusal = guided_refusal(unweighted(name), nets.pictures(1, (96, 96)))
    assert refusal is not None and f"it holds {OTHERS[name]}" in refusal


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
    "Sigmoid, a product of functions of the image (Mul)": lambda x: x * torch.sigmoid(1.702 * x),
    "Hardsigmoid": lambda x: x * F.hardsigmoid(x),
    "Softmax": lambda x: x * x.flatten(2).softmax(2).view_as(x),
    "Erf": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "Where": lambda x: torch.where(x > 0, x, 0.0),
    "MaskedFill": lambda x: x.masked_fill(x < 0, 0),
    "IndexPut": lambda x: x.clone().index_put_((x < 0,), x.new_zeros(())),
    "a product with a mask": lambda x: x * (x > 0),
    "with a mask": lambda x: (x > 0).to(x.dtype) * x,
    "a product of functions of the image (Mul)": lambda x: x * F.relu6(x + 3) / 6,
    "a product of functions of the image (Div)": lambda x: x / (1 + F.relu(x)),
    "a product of functions of the image (Bmm)": lambda x: x @ x,
    "a product of functions of the image (Convolution)": lambda x: (
        x + F.conv2d(x, x[:1, :, :1, :1])
    ),
    "Abs": F.softsign,
    "Exp, Log1P": lambda x: x.exp().log1p(),
    "Amax": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    "Pow": torch.square,
    "not from 0": lambda x: x.clamp(-1, 1),
    "ClampMax": lambda x: -(-x).clamp_max(0),
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


LINEAR: dict[str, nets.Activation] = {
    "constants": lambda x: (1 - x * 3 - 0.5) / torch.full_like(x[:1], 2.0),
    "scalars": lambda x: torch.ops.aten.div.Scalar(torch.ops.aten.mul.Scalar(x, 3.0), 2.0),
    "matrices": lambda x: x @ torch.eye(x.shape[-1], dtype=x.dtype).flip(0),
    "einsum": lambda x: torch.einsum("bchw,hk->bckw", x, torch.ones(4, 4, dtype=x.dtype).triu()),
    "shuffle": lambda x: F.channel_shuffle(x, 2) + F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "shapes": lambda x: (
        torch.stack([*x.unbind(1)], 1).flip(1).roll(1, 2).transpose(2, 3).contiguous()
    ),
    "slices": lambda x: torch.cat([x[:, [1, 0]], *x[:, 2:].chunk(2, 1)], 1),
    "pads": lambda x: F.avg_pool2d(F.pad(F.pad(x, (1, 0, 1, 0)), (0, 1, 0, 1), "reflect"), 3, 1),
    "resize": lambda x: F.interpolate(F.interpolate(x, scale_factor=2.0), (4, 4), mode="bilinear"),
    "group norm": lambda x: F.group_norm(x, 4) + F.instance_norm(x),
    "max pool": lambda x: F.max_pool2d(x, 3, 1, 1) + F.adaptive_max_pool2d(x, 1),
    "cast": lambda x: x.float().double(),
    "unit length": F.normalize,
}


@pytest.mark.parametrize("name", LINEAR)
def test_defined_for_what_is_linear_a_norm_or_a_pool(name: str) -> None:
    images = nets.pictures(dtype=torch.float64)
    linear = LINEAR[name]
    model, twin = (
        nets.ready(
            nets.Net(nn.Sequential(nn.Flatten(), nn.Linear(128, nets.CLASSES)), activation, linear)
        )
        for activation in (nn.ReLU, reference("ReLU"))
    )
    assert_close(guided(model, images), oracle.gradient(twin, images, TARGETS), **EXACT)


@pytest.mark.parametrize("ending", [nn.Softmax(1), lambda y: 2 * y.sigmoid().clamp(1e-7, 1)])
def test_final_probabilities_do_not_stand_against_it(ending: Callable[[Tensor], Tensor]) -> None:
    model, images = nets.ready(nets.Net()), nets.pictures(dtype=torch.float64)
    wrapped = nets.Wrapped(model, ending)
    assert guided_refusal(wrapped, images) is None
    with pytest.warns(UserWarning, match="ends in a s"):
        found = guided(wrapped, images)
    factor = 1 if isinstance(ending, nn.Softmax) else 2
    assert_close(found, factor * guided(model, images), **EXACT)


def test_graph_that_the_model_keeps_is_left_as_it_was() -> None:
    class Cached(nets.Net):
        """Its class weights went through a ReLU and keep their graph."""

        def __init__(self) -> None:
            super().__init__()
            self.make = nn.Linear(4, 8).double()
            self.weights = self.make(nets.pictures(1, (5, 4), dtype=torch.float64)[0, 0]).relu()

        def forward(self, x: Tensor) -> Tensor:
            features = self.after(self.features(self.inner(self.norm(self.conv(x)))))
            logits: Tensor = features.mean((2, 3)) @ self.weights.T
            return logits

    model, images = Cached().double().eval(), nets.pictures(dtype=torch.float64)

    def gradient() -> Tensor:
        score = -model.weights.sum()
        return torch.autograd.grad(score, model.make.weight, retain_graph=True)[0]

    before = gradient()
    assert before.any()
    guided(model, images)
    assert_close(gradient(), before, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:the model ends in a softmax")
@pytest.mark.parametrize(
    "hooked", [lambda x, y: guided_rule(y, x), lambda x, y: probabilities_skipped(y)]
)
def test_hooks_on_the_graph_are_removed_also_after_an_error(hooked: Callable[..., Any]) -> None:
    x = nets.pictures(dtype=torch.float64).requires_grad_()
    y = (3 - 2 * x.relu()).flatten(1).softmax(1)

    def gradient() -> Tensor:
        return torch.autograd.grad(y[:, 0].sum(), x, retain_graph=True)[0]

    before = gradient()
    with pytest.raises(KeyError), hooked(x, y):
        assert not torch.equal(gradient(), before)
        raise KeyError
    assert torch.equal(gradient(), before)


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
