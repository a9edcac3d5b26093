"""bfloat16 up to a layer, float32 from there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audit.attribution import attribute, explain
from audit.errors import ModelError
from audit.models import precision
from audit.models.load import channels_last
from audit.models.precision import set_precision
from tests.attribution import nets


class Watch(nn.Module):
    """Remembers the kind of what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.dtype
        return x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.trunk = Watch()
        self.features = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.head = Watch()
        self.gap = nets.Gap()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.gap(self.head(self.features(self.trunk(self.conv(x).relu())).relu()))
        return found


def reduced(net: nn.Module, layer: str = "features", wanted: str = "bfloat16") -> str:
    return set_precision(net, layer, wanted, nets.pictures(1))


@pytest.fixture
def net() -> nn.Module:
    return nets.ready(Net()).float().requires_grad_(False)


def test_the_trunk_is_bfloat16_and_the_head_float32(net: Any) -> None:
    exact = net(nets.pictures())
    assert reduced(net) == "bfloat16"
    for _ in range(2):  # the second forward begins anew
        found = net(nets.pictures())
        assert net.trunk.seen == torch.bfloat16
        assert net.head.seen == found.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    assert 0 < (found - exact).norm() < 2e-2 * exact.norm()


def test_maps_and_guided_are_close_and_float32(net: Any) -> None:
    def both() -> Any:
        return attribute(
            net, nets.pictures(), lambda y: torch.tensor([3, 0, 1]), layer="features", guided=True
        )

    exact = both()
    reduced(net)
    found = both()
    for name in ("logits", "maps", "guided"):
        ours, theirs = getattr(found, name), getattr(exact, name)
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 5e-2 * theirs.norm()


def test_auto_is_bfloat16_where_the_device_is_made_for_it(
    net: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fast, expected in [(False, "float32"), (True, "bfloat16")]:
        monkeypatch.setattr(precision, "computes_bfloat16_fast", lambda _, fast=fast: fast)
        assert reduced(net, wanted="auto") == expected
        net(nets.pictures())
        assert (net.trunk.seen == torch.bfloat16) == fast


def test_float32_stays_so(net: Any) -> None:
    exact = net(nets.pictures())
    assert reduced(net, wanted="float32") == "float32"
    assert torch.equal(net(nets.pictures()), exact)


class Bypass(Net):
    """A linear layer after the explained one takes what came before it."""

    def forward(self, x: Tensor) -> Tensor:
        early = self.trunk(self.conv(x))
        self.features(early)
        return self.gap(early)


def test_a_model_that_cannot_is_float32_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bfloat16_fast", lambda _: True)
    net = nets.ready(Bypass()).float()
    with pytest.raises(ModelError, match="cannot compute in bfloat16 up to layer 'features'"):
        reduced(net)
    assert reduced(net, wanted="auto") == "float32"
    net(nets.pictures())
    assert net.trunk.seen == torch.float32
    assert not torch.is_autocast_enabled("cpu")


class Picky(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert self.conv(x).dtype == torch.float32
        return super().forward(x)


def test_a_model_that_raises_anything_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bfloat16_fast", lambda _: True)
    net = nets.ready(Picky()).float()
    assert reduced(net, wanted="auto") == "float32"
    assert net(nets.pictures()).dtype == torch.float32
    with pytest.raises(ModelError, match=r"AssertionError|assert"):
        reduced(net)


class Views(Net):
    def forward(self, x: Tensor) -> Tensor:
        grid = self.conv(x)
        flat = grid.view(len(grid), -1)  # as many users write it
        found: Tensor = self.gap(flat.view(grid.shape))
        return found


@pytest.mark.parametrize("kind", [Net, Views])
def test_channels_last_changes_no_number_and_breaks_no_model(kind: type[Net]) -> None:
    net: Any = nets.ready(kind())
    images = nets.pictures(dtype=torch.float64)
    before = net(images).detach()
    channels_last(net, images[:1])
    torch.testing.assert_close(net(images).detach(), before)
    fast = net.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert fast == (kind is Net)


def test_a_failure_ends_the_reduced_precision(net: Any) -> None:
    reduced(net)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 5, 16, 16))
    assert not torch.is_autocast_enabled("cpu")
    found = explain(net, nets.pictures(), [3, 0, 1], method="grad-cam", layer="features")
    assert found.isfinite().all()
