"""The layer to explain: found, named, refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from audit.attribution import explain, find_layer, guided_refusal, layer_choice
from audit.attribution.grids import Grid, infer_grid
from audit.errors import ModelError
from tests.attribution import nets


def small_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=16
    )  # its head has weights of zero


def small_swin() -> nn.Module:
    return torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=[4, 4]
    )


def small_vgg() -> nn.Module:
    model = nets.torchvision_net("vgg11").float()
    return model.train()


LARGE = {"weights": None, "num_classes": 3}
FOUND: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "resnet18": (lambda: torchvision.models.resnet18(**LARGE), "layer4", 64),
    "resnet18 with a 1x1 end": (lambda: torchvision.models.resnet18(**LARGE), "layer3", 32),
    "vgg11": (small_vgg, "features.19", 64),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(**LARGE), "features", 64),
    "densenet121": (lambda: torchvision.models.densenet121(**LARGE), "features", 64),
    "shufflenet": (lambda: torchvision.models.shufflenet_v2_x0_5(**LARGE), "conv5", 64),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(**LARGE), "classifier.2", 64),
    "vit": (small_vit, "encoder.layers.encoder_layer_2.ln_1", 32),
    "swin": (small_swin, "permute", 32),
    "dropout at the end": (nets.Net, "after", 16),
    "one ReLU for all": (lambda: nets.Net(None, nets.RELUS["one for all"]), "features", 16),
    "tokens, first decides": (nets.Patches, "before", 16),
    "tokens, mean decides": (lambda: nets.Patches(pooled=True), "final", 16),
    "channels last": (nets.ChannelsLast, "head.1", 16),
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("pixel", [0.0, 0.5])
def test_last_spatial_layer_on_the_path(name: str, pixel: float) -> None:
    build, layer, size = FOUND[name]
    model = build()
    images = torch.full((2, 3, size, size), pixel)
    with torch.no_grad():
        assert find_layer(model, images) == layer
    assert model.training and all(p.requires_grad for p in model.parameters())
    explained = explain(model, images, torch.tensor([[0, 1]] * 2), method="grad-cam")
    assert explained.shape[:2] == (2, 2) and explained.shape[2:].numel() > 1


def test_found_while_autograd_looks_for_nan() -> None:
    with torch.autograd.set_detect_anomaly(True):
        assert find_layer(nets.Net(), nets.pictures()) == "after"


def test_channels_come_first_where_shapes_cannot_tell() -> None:
    assert infer_grid((2, 8, 8, 8), (64, 64)) == Grid("channels-first", 8, 8)


class Branches(nn.Module):
    """A layer that is called twice, one whose output is dropped, one that is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.block = nn.Sequential(self.twice)
        self.features = nn.Conv2d(3, 8, 3)
        self.dropped = nn.Conv2d(8, 8, 1)
        self.detached = nn.Conv2d(8, 8, 1)
        self.pair = Pair()
        self.unused = nn.Conv2d(8, 8, 1)
        self.head = nets.Gap()

    def forward(self, x: Tensor) -> Any:
        x = self.twice(self.block(x))
        x, _ = self.pair(self.features(x))
        self.dropped(x)
        logits = self.head(x + self.detached(x).detach())
        return {"logits": logits}


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 1, x


def logits(result: Any) -> Tensor:
    found: Tensor = result["logits"]
    return found


def test_find_layer_passes_over_what_cannot_be_explained() -> None:
    assert find_layer(Branches(), nets.pictures(), output=logits) == "features"
    with pytest.raises(ModelError, match="output="):
        find_layer(Branches(), nets.pictures())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("twice", "layer 'twice' is called 2 times in one forward pass; choose"),
        ("unused", "layer 'unused' is not called"),
        ("dropped", "layer 'dropped' is not on the path of the score"),
        ("detached", "layer 'detached' is not on the path of the score"),
        ("pair", "layer 'pair' returns tuple"),
        ("head.fc", r"layer 'head.fc' gives \[3, 5\]: wanted a spatial output"),
        ("featuers", "no layer 'featuers'.*'features'"),
        ("", "no layer ''"),
    ],
)
@pytest.mark.parametrize("targets", [[0, 1, 2], torch.tensor([[0, 1]] * 3)])
def test_layer_that_cannot_be_explained(layer: str, message: str, targets: Any) -> None:
    with pytest.raises(ModelError, match=message):
        explain(
            Branches(), nets.pictures(), targets, method="grad-cam", layer=layer, output=logits
        )  # fmt: skip


def test_no_spatial_layer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 5))
    with pytest.raises(ModelError, match="no layer with a spatial output"):
        find_layer(model, nets.pictures())
    guided = explain(model, nets.pictures(), [0, 1, 2], method="guided-backprop")
    assert guided.shape == (3, 3, 16, 16)


def test_score_that_depends_on_nothing() -> None:
    model = nets.Wrapped(nets.Net(), torch.Tensor.detach)
    for method in ("grad-cam", "guided-backprop"):
        with pytest.raises(ModelError, match="not on the path of the score"):
            explain(model, nets.pictures(), [0, 1, 2], method=method, layer="net.features")


@pytest.mark.parametrize("ask", [find_layer, guided_refusal])
def test_exported_model_is_refused(ask: Callable[[nn.Module, Tensor], Any]) -> None:
    images = nets.pictures()
    exported = torch.export.export(nets.Net(), (images,)).module()
    before = {name: buffer.clone() for name, buffer in exported.named_buffers()}
    with pytest.raises(ModelError, match="the model is exported; explain the eager model"):
        ask(exported, images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in exported.named_buffers())


class Speaker(nn.Module):
    """A convolution, and six words that depend on its mean; six is 2 x 2 and two over."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 4, stride=4)
        self.words = nn.Parameter(torch.randn(1, 6, 4, generator=nets.seeded(6)))
        self.next = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.next(self.words + self.features(x).mean((2, 3))[:, None])


def test_words_are_no_patches() -> None:
    model = nets.ready(Speaker()).float()
    choice = layer_choice(model, torch.zeros(1, 3, 16, 16), output=lambda words: words[:, 2])
    assert (choice.name, choice.grid) == ("features", (4, 4))
    assert choice.passed_over == (("next", "its tokens are no patches"),)


class Attention(nn.Module):
    """A token model whose queries, keys and values are layers; the first token decides."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, 1, 8, generator=nets.seeded(3)))
        self.before = nn.LayerNorm(8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).mT
        x = torch.cat([self.first.expand(len(x), -1, -1), patches], 1)
        y = self.before(x)
        y = F.scaled_dot_product_attention(self.query(y), self.key(y), self.value(y))
        return self.head((x + y)[:, 0])


def test_values_are_a_part_of_what_matters() -> None:
    choice = layer_choice(nets.ready(Attention()).float(), torch.zeros(1, 3, 16, 16))
    assert (choice.name, choice.grid) == ("before", (4, 4))
    assert choice.passed_over[1:] == (
        ("value", "patch tokens also go around it"),
        ("key", "patch tokens also go around it"),
        ("query", "its patch tokens do not matter"),
    )


class Merger(nn.Module):
    """Patches by a convolution, or by a linear layer; then four neighbours are made one."""

    def __init__(self, *, convolves: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4) if convolves else nn.Linear(48, 8)
        self.merge = nn.Linear(32, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.patches, nn.Conv2d):
            x = self.patches(x)
        else:
            x = self.patches(F.unfold(x, 4, stride=4).mT).mT.unflatten(2, (4, 4))
        x = F.unfold(x, 2, stride=2).mT
        return self.head(self.merge(x).mean(1))


@pytest.mark.parametrize("convolves", [True, False])
def test_merged_patches_are_patches(convolves: bool) -> None:
    model = nets.ready(Merger(convolves=convolves)).float()
    choice = layer_choice(model, torch.zeros(1, 3, 16, 16))
    assert (choice.name, choice.grid) == ("merge", (2, 2))


class Sequence(nn.Module):
    """Seven tokens of the whole picture, and no layer with a grid on the path."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv2d(3, 4, 8, stride=8)
        self.tokens = nn.Linear(16, 7 * 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        self.aside(F.pad(x, (0, 16, 0, 16)))
        return self.head(self.mix(self.tokens(x.mean((1, 2))).unflatten(1, (7, 4))).mean(1))


def test_tokens_without_another_grid_are_the_last_resort() -> None:
    choice = layer_choice(nets.ready(Sequence()).float(), torch.zeros(1, 3, 16, 16))
    assert (choice.name, choice.grid) == ("mix", (2, 2))


class Tupled(nn.Module):
    """A layer that returns a tuple of one tensor, as many of Hugging Face's do."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.block = nets.Wrapped(nn.Conv2d(3, 4, 3, padding=1), wrap)
        self.head = nets.mlp_head()

    def forward(self, x: Tensor) -> Tensor:
        (hidden, *_) = self.block(x)
        return self.head(F.avg_pool2d(hidden, 4).relu().repeat(1, 2, 1, 1))


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: (x, None)], ids=["one", "none beside"])
@pytest.mark.parametrize("method", ["grad-cam", "guided-grad-cam"])
def test_the_only_tensor_of_a_tuple(wrap: Callable[[Tensor], Any], method: str) -> None:
    model = nets.ready(Tupled(wrap))
    found, inside = (
        explain(model, nets.pictures(dtype=torch.float64), [0, 1, 2], method=method, layer=layer)
        for layer in ("block", "block.net")
    )
    assert torch.equal(found, inside) and found.abs().sum() > 0


class Detour(nn.Module):
    """A layer called twice, a pool, a layer off the path, one that returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.aside = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.AvgPool2d(2)
        self.pair = nets.Wrapped(nn.Identity(), lambda x: (x, x))
        self.head = nets.Gap(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.features(x)))
        self.aside(x)
        return self.head(self.pair(self.pool(x))[0])


def test_the_choice_says_why() -> None:
    choice = layer_choice(nets.ready(Detour()).float(), torch.zeros(1, 3, 16, 16))
    assert (choice.name, choice.grid) == ("features", (16, 16))
    assert choice.passed_over == (
        ("head", "no grid"),
        ("head.fc", "no grid"),
        ("pair", "returns tuple"),
        ("pair.net", "a pool"),
        ("pool", "a pool"),
        ("aside", "not on the score's path"),
        ("twice", "called 2 times"),
    )
    assert choice.reason == (
        "features (16 x 16) is the last layer with a grid that the score depends on; after it "
        "come head (no grid), head.fc (no grid), pair (returns tuple), pair.net (a pool), 3 more"
    )
