"""Small hand-made networks, each with one thing that explainers get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

CLASSES = 5
Activation = Callable[[Tensor], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(batch: int = 3, size: tuple[int, int] = (16, 16), **kwargs: Any) -> Tensor:
    return torch.randn(batch, 3, *size, generator=seeded(1), **kwargs)


@contextmanager
def fixed_seed(seed: int = 0) -> Iterator[None]:
    """Weights drawn inside are the same each time, and the random state is given back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class Gap(nn.Module):
    """Global average pooling and one linear layer."""

    def __init__(self, channels: int = 8, classes: int = CLASSES) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


def mlp_head() -> nn.Module:
    layers = [nn.Flatten(), nn.Linear(128, 32), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(32, CLASSES))


def norm_head() -> nn.Module:
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(pool, nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, CLASSES))


def smooth_head() -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, CLASSES))


class Net(nn.Module):
    """Two convolutions with batch normalisation to a 4x4 grid (of 16 px), dropout, a head.

    ``activation`` makes the ReLU of one place; it is called once for each.
    """

    def __init__(
        self,
        head: nn.Module | None = None,
        activation: Callable[[], Activation] = nn.ReLU,
        after: Activation | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.inner = activation()
        self.features = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.after = after or activation()
        self.drop = nn.Dropout(0.5)
        self.head = head or Gap()
        self.norm.running_mean = torch.randn(6, generator=seeded(2)) * 0.1

    def forward(self, x: Tensor) -> Any:
        features = self.features(self.inner(self.norm(self.conv(x))))
        return self.head(self.drop(self.after(features)))


class Skip(nn.Module):
    """The ReLU's input also feeds a skip connection."""

    def __init__(self, activation: Callable[[], Activation]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.features = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = activation()
        self.head = Gap(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x + self.relu(x)
        x = self.features(x)
        return self.head(x - self.relu(x))


class Patches(nn.Module):
    """A token model: patches of 4 px, prefix tokens, one attention block; the first token decides.

    With ``pooled`` the mean of the patches decides.
    """

    def __init__(self, prefix: int = 1, *, tokens: int = 16, pooled: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 8, generator=seeded(3)))
        self.position = nn.Parameter(torch.randn(1, tokens, 8, generator=seeded(4)))
        self.before = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.final = nn.LayerNorm(8)
        self.head = nn.Linear(8, CLASSES)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2) + self.position
        x = torch.cat([self.prefix.expand(len(x), -1, -1), patches], 1)
        y = self.before(x)
        x = self.final(x + self.attention(y, y, y, need_weights=False)[0])
        return self.head(x[:, self.prefix.shape[1] :].mean(1) if self.pooled else x[:, 0])


class ChannelsLast(nn.Module):
    """A layer whose output is ``[B, h, w, C]``, and the same seen as ``[B, C, h, w]``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.last = nn.LayerNorm(8)
        self.first = Permute(0, 3, 1, 2)
        self.head = nn.Sequential(nn.Conv2d(8, 6, 2), nn.Tanh(), Gap(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(self.last(self.conv(x).permute(0, 2, 3, 1))))


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


class Wrapped(nn.Module):
    """A network whose logits are somewhere in what it returns."""

    def __init__(self, net: nn.Module, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net = net
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.net(x))


def ready(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 and eval mode, with weights drawn from a seed."""
    generator = seeded(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(noise * 0.1 + name.endswith("weight"))
    return net.double().eval()


def torchvision_net(name: str) -> nn.Module:
    """A torchvision architecture, without VGG's 400 MB of head."""
    build = torchvision.models.get_model
    if not name.startswith("vgg"):
        return ready(build(name, weights=None, num_classes=CLASSES))
    with torch.device("meta"):
        net = build(name, weights=None, init_weights=False)
    net.classifier = nn.Sequential(
        nn.Linear(25088, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, CLASSES)
    )
    net.features.to_empty(device="cpu")
    return ready(net)


ARCHITECTURES = {
    "resnet18": "layer4",
    "vgg11": "features.19",
    "mobilenet_v2": "features",
    "densenet121": "features",
}

RELUS: dict[str, Callable[[], Activation]] = {
    "nn.ReLU": nn.ReLU,
    "in place": lambda: nn.ReLU(inplace=True),
    "F.relu": lambda: F.relu,
    "F.relu in place": lambda: lambda x: F.relu(x, inplace=True),
    "Tensor.relu": lambda: Tensor.relu,
    "clamp": lambda: lambda x: x.clamp(min=0),
    "clamp_min": lambda: lambda x: x.clamp_min(0),
    "threshold": lambda: nn.Threshold(0, 0),
    "ReLU6": nn.ReLU6,
    "clamp to 6": lambda: lambda x: x.clamp(0, 6),
}
_shared = nn.ReLU()
RELUS["one for all"] = lambda: _shared
