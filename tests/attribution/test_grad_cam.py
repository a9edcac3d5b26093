"""Grad-CAM against its definition, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from audit.attention import measure
from audit.attribution import attribute, display, explain
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


def _write_to_view(trunk: Tensor, view: Tensor, written: Tensor) -> None:
    view += written


def _write_to_base(trunk: Tensor, view: Tensor, written: Tensor) -> None:
    trunk += written.mean((2, 3), keepdim=True) + view.mean()


def _assign(trunk: Tensor, view: Tensor, written: Tensor) -> None:
    trunk[:, :, ::2, ::2] = written


@pytest.mark.parametrize("write", [_write_to_view, _write_to_base, _assign])
def test_view_of_the_trunk_written_in_place_after_the_layer(write: Callable[..., None]) -> None:
    class Writes(nets.Net):
        def forward(self, x: Tensor) -> Tensor:
            trunk = self.conv(x)
            view = trunk[:, :, ::2, ::2]
            write(trunk, view, self.features(trunk).mean(1, keepdim=True))
            logits: Tensor = self.head(torch.cat([trunk, trunk[:, :2]], 1))
            return logits

    model, images = nets.ready(Writes()), nets.pictures(2, dtype=torch.float64)
    assert_close(grad_cam(model, images, [3, 1]), defined(model, "features", images, [3, 1]))


@pytest.mark.parametrize("after", [torch.square, torch.relu])
def test_layer_that_passes_its_input_on_and_is_overwritten_later(after: nets.Activation) -> None:
    class Overwrites(nets.Net):
        def forward(self, x: Tensor) -> Tensor:
            trunk = self.features(self.inner(self.conv(x)))
            logits: Tensor = self.head(after(self.drop(trunk)))
            trunk.zero_()
            return logits

    images = nets.pictures(2, dtype=torch.float64)
    model, twin = (nets.ready(net) for net in (Overwrites(), nets.Net(after=after)))
    twin.norm = nn.Identity()
    expected = grad_cam(twin, images, [3, 1])
    assert_close(grad_cam(model, images, [3, 1], "drop"), expected)
    if after is torch.relu:
        beside = attribute(model, images, lambda _: torch.tensor([3, 1]), layer="drop", guided=True)
        assert_close(beside.maps[:, 0], expected)


class Checkpointed(nets.Net):
    """Recomputes the whole net, or a part of it, while going back."""

    part = "whole"

    def forward(self, x: Tensor) -> Any:
        def again(function: Callable[[Tensor], Any], x: Tensor, part: str) -> Any:
            chosen = part == self.part
            return checkpoint(function, x, use_reentrant=False) if chosen else function(x)

        def trunk(x: Tensor) -> Tensor:
            return self.inner(self.norm(self.conv(x)))

        def block(x: Tensor) -> Tensor:
            return self.after(self.features(x))

        def whole(x: Tensor) -> Any:
            x = again(block, again(trunk, x, "trunk"), "block")
            return again(self.head, self.drop(x), "head")

        return again(whole, x, "whole")


@pytest.mark.parametrize("part", ["whole", "trunk", "block", "head"])
@pytest.mark.parametrize("activation", ["nn.ReLU", "in place"])
@pytest.mark.parametrize("targets", [[3, 0, 1], torch.tensor([[3, 1], [0, 0], [1, 4]])])
def test_checkpoint_without_reentry_equals_the_net_without(
    part: str, activation: str, targets: Any
) -> None:
    images = nets.pictures(dtype=torch.float64)
    model, plain = (
        nets.ready(kind(nets.mlp_head(), nets.RELUS[activation]))
        for kind in (Checkpointed, nets.Net)
    )
    model.part = part
    assert_close(grad_cam(model, images, targets), grad_cam(plain, images, targets), **EXACT)


def test_checkpoint_that_cannot_be_recomputed_is_refused() -> None:
    class Changes(nets.Net):
        calls = 0

        def changing(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x.square() if self.calls % 2 else x + 1

        def forward(self, x: Tensor) -> Any:
            features = self.features(self.conv(x))
            return self.head(checkpoint(self.changing, features, use_reentrant=False))

    with pytest.raises(ModelError, match="switch checkpointing off"):
        grad_cam(nets.ready(Changes()), nets.pictures(1, dtype=torch.float64), [0])


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
        lambda y: torch.cat([y.sigmoid(), 1 - y.sigmoid()], 1),
        lambda y: y.softmax(1).clamp(1e-7, 1 - 1e-7),
        lambda y: y.sigmoid().clamp_min(1e-7) * 1.0,
        lambda y: y.float().softmax(1).double(),
        lambda y: y.T.softmax(0).T.clone(),
        lambda y: y.softmax(1)[:, :, None].permute(0, 2, 1).squeeze(1),
    ],
)
def test_probabilities_are_explained_by_their_logits(ending: Callable[[Tensor], Tensor]) -> None:
    model, images = nets.ready(nets.Net()), nets.pictures(2, dtype=torch.float64)
    model.head.fc.weight.data *= 1000  # saturated
    with pytest.warns(UserWarning, match="ends in a (log-)?s(oftmax|igmoid)"):
        maps = grad_cam(nets.Wrapped(model, ending), images, [0, 1], "net.features")
    assert_close(maps, grad_cam(model, images, [0, 1]), rtol=1e-6, atol=1e-12)


def test_complement_of_a_sigmoid_is_the_negative_logit() -> None:
    model = nets.ready(nets.Net(nets.Gap(classes=1)))
    images = nets.pictures(2, dtype=torch.float64)
    model.head.fc.weight.data *= 1000
    both = nets.Wrapped(model, lambda y: torch.cat([1 - y.sigmoid(), y.sigmoid()], 1))
    with pytest.warns(UserWarning, match="ends in a sigmoid"):
        maps = grad_cam(both, images, [0, 1], "net.features")
    assert_close(maps, grad_cam(model, images, [0, 1]), **EXACT)


MADE_OTHERWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "log of softmax": lambda y: y.softmax(1).log(),
    "exponential of log-softmax": lambda y: y.log_softmax(1).exp(),
    "mean of two softmaxes": lambda y: (y.softmax(1) + (2 * y).softmax(1)) / 2,
    "sigmoids over their sum": lambda y: y.sigmoid() / y.sigmoid().sum(1, keepdim=True),
    "softmax by hand": lambda y: (
        (y - y.amax(1, True)).exp() / (y - y.amax(1, True)).exp().sum(1, True)
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("made", MADE_OTHERWISE)
def test_probabilities_made_otherwise_are_refused(made: str, dtype: torch.dtype) -> None:
    model, images = nets.ready(nets.Net()).to(dtype), nets.pictures(2, dtype=dtype)
    wrapped = nets.Wrapped(model, MADE_OTHERWISE[made])
    for scale in (1, 1000):  # saturated or not
        model.head.fc.weight.data *= scale
        with pytest.raises(ModelError, match=r"returns probabilities .* output="):
            grad_cam(wrapped, images, [0, 1], "net.features")


def test_logits_that_happen_to_sum_to_one_are_explained() -> None:
    model, images = nets.ready(nets.Net(nets.Gap(classes=2))), nets.pictures(1, dtype=torch.float64)
    model.head.fc.weight.data[1] = -model.head.fc.weight.data[0]
    model.head.fc.weight.data *= 1e-3
    model.head.fc.bias.data[:] = torch.tensor([0.3, 0.7])
    assert_close(model(images).sum(1), torch.ones(1, dtype=torch.float64))
    assert_close(grad_cam(model, images, [1]), defined(model, "features", images, [1]), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_negative_evidence_alone_is_dead_not_nan(dtype: torch.dtype) -> None:
    model = nets.ready(nets.Net()).to(dtype)
    model.head.fc.weight.data = -model.head.fc.weight.data.abs()
    maps = grad_cam(model, nets.pictures(dtype=dtype), [0, 1, 2], "after")
    assert maps.isfinite().all() and (maps < 0).any()
    assert measure(maps, torch.ones(3, 1, 4, 4)).dead.all()
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
