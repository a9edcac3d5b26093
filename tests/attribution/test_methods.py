"""The other methods against their equations in loops, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from audit.attribution import explain, occlusion, upsample
from audit.errors import ModelError
from tests.attribution import nets
from tests.oracles import attribution as oracle

EXACT = {"rtol": 0, "atol": 1e-12}
TARGETS = [3, 0, 1]
HEADS = {"gap": nets.Gap, "mlp": nets.mlp_head, "norm": nets.norm_head, "smooth": nets.smooth_head}


def run(model: nn.Module, method: str, **changed: Any) -> Tensor:
    arguments: dict[str, Any] = {"images": nets.pictures(dtype=torch.float64), "targets": TARGETS}
    return explain(model, **{**arguments, "layer": "features", **changed}, method=method)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("method", ["grad-cam", "counterfactual", "hires-cam", "layer-cam"])
def test_maps_of_a_layer_are_their_equations(method: str, head: str) -> None:
    model = nets.ready(nets.Net(HEADS[head]()))
    images = nets.pictures(dtype=torch.float64)
    found = run(model, method)
    for image, target, one in zip(images, TARGETS, found, strict=True):
        activations = oracle.activations_of(model, "features", image[None])
        gradient = oracle.jacobian(model, "features", image[None])[target]
        assert_close(one, oracle.MAPS[method](activations, gradient), **EXACT)


def test_cam_is_the_weights_of_the_head_times_the_activations() -> None:
    model = nets.ready(nets.Net(nets.Gap(), after=nn.Identity()))
    images = nets.pictures(dtype=torch.float64)
    found = run(model, "cam")
    logits = model(images)
    for b, target in enumerate(TARGETS):
        activations = oracle.activations_of(model, "features", images[[b]])[0]
        weights = model.head.fc.weight[target]
        expected = sum(w * a for w, a in zip(weights, activations, strict=True))
        assert_close(found[b], expected.detach(), **EXACT)
        assert_close(found[b].mean(), (logits[b, target] - model.head.fc.bias[target]).detach())
    assert_close(found / 16, run(model, "grad-cam"), **EXACT)
    assert_close(found / 16, run(model, "hires-cam"), **EXACT)


@pytest.mark.parametrize("head", ["mlp", "norm", "smooth"])
def test_cam_of_another_head_is_refused(head: str) -> None:
    model = nets.ready(nets.Net(HEADS[head](), after=nn.Identity()))
    with pytest.raises(ModelError, match="global average pooling and linear layers only"):
        run(model, "cam")


def test_cam_refuses_a_relu_between_the_layer_and_the_pool() -> None:
    with pytest.raises(ModelError, match="use grad-cam"):
        run(nets.ready(nets.Net(nets.Gap())), "cam")


def conv_head() -> nn.Module:
    layers = [nn.Conv2d(8, 6, 2, padding=1), nn.ReLU6(), nn.AvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(24, nets.CLASSES))


def unrolled(model: nn.Module, image: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Units and dense weights of every linear step after the features, by Jacobians."""
    units = model.after(oracle.activations_of(model, "features", image)).detach()
    if isinstance(model.head, nets.Gap):
        steps: list[Callable[[Tensor], Tensor]] = [lambda x: x.mean((2, 3)), model.head.fc]
    else:
        steps = list(model.head)
    found = []
    for step in steps:
        after = step(units).detach()
        if not isinstance(step, (nn.ReLU, nn.ReLU6, nn.Flatten, nn.Dropout)):
            matrix = torch.func.jacrev(step)(units).reshape(after.numel(), units.numel())
            found.append((units.flatten(), matrix.detach()))
        units = after
    return found


@pytest.mark.parametrize("head", [nets.Gap, nets.mlp_head, conv_head])
def test_c_mwp_is_its_equations(head: Callable[[], nn.Module]) -> None:
    model = nets.ready(nets.Net(head()))
    images = nets.pictures(dtype=torch.float64)
    found = run(model, "c-mwp")
    for image, target, one in zip(images, TARGETS, found, strict=True):
        won = oracle.contrastive_winning(unrolled(model, image[None]), target)
        assert_close(one, won.reshape(8, 4, 4).sum(0), **EXACT)
    assert found.abs().sum() > 0.1


def test_c_mwp_of_relus_in_place_is_the_same() -> None:
    found = []
    for inplace in (False, True):
        head = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 32), nn.ReLU(inplace), nn.Linear(32, nets.CLASSES)
        )
        found.append(run(nets.ready(nets.Net(head)), "c-mwp"))
    assert_close(*found, **EXACT)


class Chained(nn.Module):
    """Logits of one layer and of another above it, added."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nets.Gap(), nn.Linear(nets.CLASSES, nets.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(x)
        return low + self.high(low.relu())


def test_c_mwp_of_last_layers_that_follow_each_other_is_refused() -> None:
    with pytest.raises(ModelError, match="follow each other"):
        run(nets.ready(nets.Net(Chained())), "c-mwp")


def test_c_mwp_of_a_saturated_relu6_still_passes() -> None:
    model = nets.ready(nets.Net(conv_head()))
    images = 200 * nets.pictures(dtype=torch.float64)
    found = run(model, "c-mwp", images=images)
    won = oracle.contrastive_winning(unrolled(model, images[:1]), TARGETS[0])
    assert (oracle.activations_of(model, "head.1", images) == 6).any()
    assert_close(found[0], won.reshape(8, 4, 4).sum(0), **EXACT)


def test_c_mwp_of_the_other_side_of_a_single_logit_is_its_negative() -> None:
    model = nets.ready(nets.Net(nets.Gap(classes=1)))
    found = run(model, "c-mwp", targets=torch.tensor([[0, 1]] * 3))
    assert_close(found[:, 0], -found[:, 1], **EXACT)


def test_c_mwp_of_a_difference_of_logits_is_the_difference() -> None:
    model = nets.ready(nets.Net(nets.mlp_head()))
    both = run(model, "c-mwp", targets=torch.tensor([[3, 1]] * 3))
    found = run(model, "c-mwp", targets=lambda y: y[:, 3] - y[:, 1])
    assert_close(found, both[:, 0] - both[:, 1], **EXACT)


def test_c_mwp_adds_up_to_nothing() -> None:
    """Class and dual both win 1, so where all of it reaches the layer their difference is 0."""
    model = nets.ready(nets.Net(nets.Gap()))
    assert_close(run(model, "c-mwp").sum((1, 2)), torch.zeros(3, dtype=torch.float64), **EXACT)


class Residual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.relu()


C_MWP_REFUSED = {
    "LayerNorm": (nets.norm_head, "NativeLayerNorm"),
    "Tanh": (nets.smooth_head, "Tanh"),
    "skip": (lambda: nn.Sequential(Residual(), nets.Gap()), "Add"),
    "no weights": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no such layer"),
}


@pytest.mark.parametrize("kind", C_MWP_REFUSED)
def test_c_mwp_is_refused_by_name(kind: str) -> None:
    head, name = C_MWP_REFUSED[kind]
    with pytest.raises(ModelError, match=f"c-mwp is defined for .*({name}).*use grad-cam"):
        run(nets.ready(nets.Net(head())), "c-mwp")


def test_c_mwp_below_activations_that_can_be_negative_is_refused() -> None:
    with pytest.raises(ModelError, match="it holds activations below 0"):
        run(nets.ready(nets.Net(nets.Gap(), after=nn.Identity())), "c-mwp")


def test_gradient_is_the_gradient() -> None:
    model = nets.ready(nets.Net(nets.smooth_head(), activation=nn.SiLU))
    images = nets.pictures(dtype=torch.float64)
    assert_close(run(model, "gradient"), oracle.gradient(model, images, TARGETS), **EXACT)


@pytest.mark.parametrize("form", nets.RELUS)
def test_deconvolution_passes_positive_signals_wherever_the_relu_stood(form: str) -> None:
    images = 20 * nets.pictures(dtype=torch.float64)
    relu = oracle.deconvolved_relu6 if "6" in form else oracle.deconvolved_relu
    model = nets.ready(nets.Net(nets.norm_head(), nets.RELUS[form]))
    twin = nets.ready(nets.Net(nets.norm_head(), lambda: relu))
    expected = oracle.gradient(twin, images, TARGETS)
    found = run(model, "deconvolution", images=images)
    assert_close(found, expected, **EXACT)
    guided = run(model, "guided-backprop", images=images)
    assert (found - guided).norm() > 0.1 * guided.norm()


def test_deconvolution_grad_cam_is_their_product() -> None:
    model = nets.ready(nets.Net(nets.mlp_head()))
    maps, signal = run(model, "grad-cam"), run(model, "deconvolution")
    picture = upsample(maps.clamp(min=0), (16, 16))
    assert_close(run(model, "deconvolution-grad-cam"), picture[:, None] * signal, **EXACT)


def test_deconvolution_is_refused_where_guided_is() -> None:
    model = nets.ready(nets.Net(nets.mlp_head(), activation=nn.GELU))
    with pytest.raises(ModelError, match="GELU"):
        run(model, "deconvolution")


def test_occlusion_is_the_fall_of_the_score() -> None:
    model = nets.ready(nets.Net(nets.smooth_head(), activation=nn.SiLU))
    images = nets.pictures(dtype=torch.float64)

    def scores(pictures: Tensor) -> Tensor:
        return model(pictures).detach()

    found = occlusion(scores, images, patch=0.25, positions=8)
    for i in range(8):
        for j in range(8):
            hidden = images.clone()
            for y in range(16):
                for x in range(16):
                    # a patch of 4 pixels around the middle of cell (i, j), which is 2 pixels wide
                    if abs(y + 0.5 - (2 * i + 1)) < 2 and abs(x + 0.5 - (2 * j + 1)) < 2:
                        hidden[:, :, y, x] = 0
            assert_close(found[:, :, i, j], scores(images) - scores(hidden), **EXACT)
    assert_close(run(model, "occlusion")[1], occlusion(scores, images)[1, 0], **EXACT)


def log_likelihood(logits: Tensor) -> Tensor:
    return logits.log_softmax(1)[:, 2]


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "a difference of logits": lambda y: y[:, 3] - y[:, 1],
    "a log-likelihood": log_likelihood,
    "an entropy": lambda y: -(y.softmax(1) * y.log_softmax(1)).sum(1),
}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam"])
def test_any_score_of_the_output(method: str, score: str) -> None:
    model = nets.ready(nets.Net(nets.mlp_head()))
    images = nets.pictures(dtype=torch.float64)
    found = run(model, method, targets=SCORES[score])
    for image, one in zip(images, found, strict=True):
        activations = oracle.activations_of(model, "features", image[None])
        head = oracle.head_of(model, "features", image[None])
        gradient = torch.func.jacrev(lambda a, head=head: SCORES[score](head(a)[None])[0])(
            activations
        )
        assert_close(one, oracle.MAPS[method](activations, gradient), **EXACT)


def test_several_scores_at_once() -> None:
    model = nets.ready(nets.Net(nets.mlp_head()))
    found = run(model, "grad-cam", targets=lambda y: torch.stack([y[:, 1], log_likelihood(y)], 1))
    assert_close(found[:, 0], run(model, "grad-cam", targets=[1, 1, 1]), **EXACT)
    assert_close(found[:, 1], run(model, "grad-cam", targets=log_likelihood), **EXACT)


@pytest.mark.parametrize("method", ["gradient", "occlusion", "guided-backprop"])
def test_scores_without_a_layer(method: str) -> None:
    model = nets.ready(nets.Net(nets.mlp_head()))
    found = run(model, method, targets=lambda y: y[:, 3] - y[:, 1])
    if method != "guided-backprop":  # which is not linear in the score
        ids = torch.tensor([[3, 1]] * 3)
        both = run(model, method, targets=ids)
        assert_close(found, both[:, 0] - both[:, 1], **EXACT)
    assert found.isfinite().all() and found.abs().sum() > 0


def test_a_score_chooses_its_layer_over_the_whole_batch() -> None:
    """The words of a caption differ from image to image, so one image alone could not be asked."""
    model = nets.ready(nets.Net(nets.mlp_head()))
    words = torch.tensor(TARGETS)

    def likelihood(logits: Tensor) -> Tensor:
        return -F.cross_entropy(logits, words, reduction="none")

    found = run(model, "grad-cam", layer=None, targets=likelihood)
    assert found.shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda y: y.sum(), r"the score gave \[\], wanted \[3\] or \[3, K\]"),
        (lambda y: y[:2, 0], r"the score gave \[2\]"),
        (lambda y: 1.0, "the score gave float"),
    ],
)
def test_scores_of_another_shape_are_refused(score: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(nets.ready(nets.Net()), "grad-cam", targets=score)


def test_a_selector_beside_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match="output: only for class ids"):
        run(nets.ready(nets.Net()), "grad-cam", targets=log_likelihood, output=lambda y: y)
