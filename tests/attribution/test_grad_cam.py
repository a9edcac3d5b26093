"""Grad-CAM against its definition, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from audit.attribution import attribute, dead, display, explain
from audit.errors import ModelError
from tests.attribution import nets
from tests.oracles import attribution as oracle

EXACT = {"rtol": 0, "atol": 1e-12}


def grad_cam(
    model: nn.Module, images: Tensor, targets: list[int] | Tensor, layer: str = "features"
) -> Tensor:
    return explain(model, images, targets, method="grad-cam", layer=layer)


def defined(model: nn.Module, layer: str, images: Tensor, targets: list[int]) -> Tensor:
    maps = []
    for image, target in zip(images.split(1), targets, strict=True):
        activations = oracle.activations_of(model, layer, image)
        gradient = oracle.jacobian(model, layer, image)[target]
        maps.append(oracle.grad_cam(activations, gradient))
    return torch.stack(maps)


def linear_gap_net() -> nn.Module:
    return nets.ready(nets.Net(after=nn.Identity()))


def test_pooled_linear_head_is_cam_over_cells() -> None:
    model, images = linear_gap_net(), nets.pictures(dtype=torch.float64)
    maps = grad_cam(model, images, torch.arange(nets.CLASSES).expand(3, -1))
    activations = torch.cat(
        [oracle.activations_of(model, "features", image) for image in images.split(1)]
    )
    cam = torch.einsum("ck,bkhw->bchw", model.head.fc.weight, activations)
    assert_close(maps * 16, cam, **EXACT)
    assert_close(maps.sum((2, 3)), model(images) - model.head.fc.bias, **EXACT)


@pytest.mark.parametrize("head", [nets.mlp_head, nets.norm_head, nets.smooth_head])
def test_equals_jacobian_and_differences(head: Callable[[], nn.Module]) -> None:
    model, images = nets.ready(nets.Net(head())), nets.pictures(2, dtype=torch.float64)
    maps = grad_cam(model, images, [3, 1])
    assert_close(maps, defined(model, "features", images, [3, 1]), **EXACT)
    measured = oracle.jacobian_by_differences(model, "features", images[:1])[3]
    activations = oracle.activations_of(model, "features", images[:1])
    assert_close(maps[0], oracle.grad_cam(activations, measured), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "layer"), nets.ARCHITECTURES.items())
def test_equals_jacobian_in_torchvision(name: str, layer: str) -> None:
    model = nets.torchvision_net(name)
    images = nets.pictures(1, (64, 64), dtype=torch.float64)
    assert_close(grad_cam(model, images, [2], layer), defined(model, layer, images, [2]))


@pytest.mark.parametrize(
    "after", [nn.ReLU(inplace=True), torch.relu_, lambda x: x.mul_(0.5).add_(1), F.selu_]
)
def test_in_place_after_the_layer_equals_out_of_place_twin(after: nets.Activation) -> None:
    def copying(x: Tensor) -> Tensor:
        return after(x.clone())

    images = nets.pictures(dtype=torch.float64)
    model, twin = (nets.ready(nets.Net(nets.mlp_head(), after=a)) for a in (after, copying))
    assert_close(grad_cam(model, images, [0, 1, 2]), grad_cam(twin, images, [0, 1, 2]), **EXACT)
    assert_close(grad_cam(model, images, [0, 1, 2]), defined(twin, "features", images, [0, 1, 2]))


def test_view_of_the_trunk_written_in_place_after_the_layer() -> None:
    class Writes(nets.Net):
        def forward(self, x: Tensor) -> Tensor:
            trunk = self.conv(x)
            view = trunk[:, :, ::2, ::2]
            view += self.features(trunk).mean(1, keepdim=True)
            logits: Tensor = self.head(torch.cat([trunk, trunk[:, :2]], 1))
            return logits

    model, images = nets.ready(Writes()), nets.pictures(2, dtype=torch.float64)
    assert_close(grad_cam(model, images, [3, 1]), defined(model, "features", images, [3, 1]))


def test_layer_that_passes_its_input_on_and_is_overwritten_later() -> None:
    class Overwrites(nets.Net):
        def forward(self, x: Tensor) -> Tensor:
            trunk = self.features(self.inner(self.conv(x)))
            logits: Tensor = self.head(self.drop(trunk).square())
            trunk.zero_()
            return logits

    images = nets.pictures(2, dtype=torch.float64)
    model, twin = (nets.ready(net) for net in (Overwrites(), nets.Net(after=torch.square)))
    twin.norm = nn.Identity()
    expected = grad_cam(twin, images, [3, 1])
    assert_close(grad_cam(model, images, [3, 1], "drop"), expected)
    beside = attribute(model, images, lambda _: torch.tensor([3, 1]), layer="drop", guided=True)
    assert_close(beside.maps[:, 0], expected)


def test_trunk_under_no_grad_in_the_model() -> None:
    class Frozen(nets.Net):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.after(self.features(self.inner(self.conv(x))))
            logits: Tensor = self.head(features)
            return logits

    model, images = nets.ready(Frozen()), nets.pictures(2, dtype=torch.float64)
    activations = oracle.activations_of(model, "after", images)
    cam = torch.einsum("bk,bkhw->bhw", model.head.fc.weight[[3, 1]], activations)
    assert_close(grad_cam(model, images, [3, 1], "after") * 16, cam, **EXACT)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of the oracle
@pytest.mark.parametrize("prefix", [1, 2, 5])
@pytest.mark.parametrize("pooled", [False, True])
def test_token_grid_that_is_not_square(prefix: int, pooled: bool) -> None:
    model = nets.ready(nets.Patches(prefix, tokens=24, pooled=pooled))
    images = nets.pictures(1, (16, 24), dtype=torch.float64)
    activations = oracle.activations_of(model, "before", images)
    gradient = oracle.jacobian(model, "before", images)[2]
    as_grid = [
        tokens[:, prefix:].transpose(1, 2).reshape(1, 8, 4, 6) for tokens in (activations, gradient)
    ]
    maps = grad_cam(model, images, [2], "before")
    assert_close(maps[0], oracle.grad_cam(*as_grid), **EXACT)


def test_tokens_that_are_no_grid_are_refused() -> None:
    model = nets.ready(nets.Patches(9, tokens=16))
    with pytest.raises(ValueError, match=r"\[1, 25, 8\].*whole square patches"):
        grad_cam(model, nets.pictures(1, dtype=torch.float64), [0], "before")


def test_class_token_alone_is_refused() -> None:
    model = nets.ready(nets.Patches())
    with pytest.raises(ModelError, match="patch tokens of layer 'final'"):
        grad_cam(model, nets.pictures(1, dtype=torch.float64), [0], "final")


@pytest.mark.parametrize("size", [(16, 16), (16, 28)])
def test_channels_last_layer_equals_channels_first_twin(size: tuple[int, int]) -> None:
    model, images = nets.ready(nets.ChannelsLast()), nets.pictures(2, size, dtype=torch.float64)
    last, first = (grad_cam(model, images, [1, 4], layer) for layer in ("last", "first"))
    assert last.shape == (2, size[0] // 4, size[1] // 4)
    assert_close(last, first, **EXACT)
    assert_close(first, defined(model, "first", images, [1, 4]), **EXACT)


def test_additive_scales_and_ignores_shifts() -> None:
    images = nets.pictures(2, dtype=torch.float64)
    model = nets.ready(nets.Net(nets.mlp_head()))

    def of(score: Callable[[Tensor], Tensor]) -> Tensor:
        return explain(
            model, images, [1, 1], method="grad-cam", layer="features",
            output=lambda logits: score(logits)[:, None],
        )  # fmt: skip

    one, two = of(lambda y: y[:, 0]), of(lambda y: y[:, 1])
    assert_close(of(lambda y: y[:, 0] + y[:, 1]), one + two, **EXACT)
    assert_close(of(lambda y: 2 * y[:, 0]), 2 * one, **EXACT)
    assert_close(of(lambda y: y[:, 0] + 7), one, **EXACT)


def test_any_differentiable_scalar_can_be_explained() -> None:
    model, images = nets.ready(nets.Net()), nets.pictures(1, dtype=torch.float64)

    def likelihood(logits: Tensor) -> Tensor:
        return logits.log_softmax(1)[:, [2, 4]].sum(1, keepdim=True)

    maps = explain(
        model, images, [1], method="grad-cam", layer="features", output=likelihood
    )  # fmt: skip
    scored = nets.Wrapped(model, likelihood)
    assert_close(maps, defined(scored, "net.features", images, [0]), **EXACT)


def test_counterfactual_is_the_negative() -> None:
    model, images = nets.ready(nets.Net(nets.mlp_head())), nets.pictures(dtype=torch.float64)
    maps = grad_cam(model, images, [0, 1, 2])
    against = explain(model, images, [0, 1, 2], method="counterfactual", layer="features")
    assert_close(against, -maps, rtol=0, atol=0)
    assert not (maps.clamp(min=0) * against.clamp(min=0)).any()


def test_single_logit_has_two_classes() -> None:
    model = nets.ready(nets.Net(nets.Gap(classes=1)))
    images = nets.pictures(2, dtype=torch.float64)
    positive, negative = (grad_cam(model, images, [c, c]) for c in (1, 0))
    assert_close(positive, defined(model, "features", images, [0, 0]), **EXACT)
    assert_close(negative, -positive, rtol=0, atol=0)
    squeezed = nets.Wrapped(model, lambda logits: logits[:, 0])
    assert_close(grad_cam(squeezed, images, [1, 1], "net.features"), positive, **EXACT)


@pytest.mark.parametrize(
    "ending",
    [
        nn.Softmax(1),
        nn.LogSoftmax(1),
        nn.Sigmoid(),
        lambda y: y.softmax(1)[:, [0, 1, 2]],
        lambda y: torch.cat([-y.sigmoid(), y.sigmoid()], 1)[:, nets.CLASSES :],
    ],
)
def test_probabilities_are_explained_by_their_logits(ending: Callable[[Tensor], Tensor]) -> None:
    model, images = nets.ready(nets.Net()), nets.pictures(2, dtype=torch.float64)
    model.head.fc.weight.data *= 1000  # saturated
    with pytest.warns(UserWarning, match="ends in a (log-)?s(oftmax|igmoid)"):
        maps = grad_cam(nets.Wrapped(model, ending), images, [0, 1], "net.features")
    assert_close(maps, grad_cam(model, images, [0, 1]), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_negative_evidence_alone_is_dead_not_nan(dtype: torch.dtype) -> None:
    model = nets.ready(nets.Net()).to(dtype)
    model.head.fc.weight.data = -model.head.fc.weight.data.abs()
    maps = grad_cam(model, nets.pictures(dtype=dtype), [0, 1, 2], "after")
    assert maps.isfinite().all() and (maps < 0).any()
    assert dead(maps).all()
    assert_close(display(maps, (16, 16)), torch.zeros(3, 16, 16))


def test_object_in_a_quadrant_is_found_there() -> None:
    model = linear_gap_net()
    images = torch.zeros(4, 3, 16, 32, dtype=torch.float64)
    corners = [(r, c) for r in (slice(0, 6), slice(10, 16)) for c in (slice(0, 12), slice(20, 32))]
    for image, (rows, columns) in zip(images, corners, strict=True):
        image[:, rows, columns] = 3.0
    maps = grad_cam(model, images, [0] * 4)
    empty = grad_cam(model, torch.zeros_like(images), [0] * 4)
    moved = (maps - empty).abs().unflatten(1, (2, 2)).unflatten(3, (2, 4)).sum((2, 4)).flatten(1)
    assert moved.argmax(1).tolist() == [0, 1, 2, 3]


def test_randomised_head_changes_the_map() -> None:
    model, images = nets.ready(nets.Net()), nets.pictures(dtype=torch.float64)
    before = grad_cam(model, images, [0, 1, 2]).flatten(1)
    nets.ready(model.head, seed=1)
    after = grad_cam(model, images, [0, 1, 2]).flatten(1)
    assert F.cosine_similarity(before, after).abs().max() < 0.9
