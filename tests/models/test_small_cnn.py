"""The properties that attribution relies on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audit.errors import ModelError
from audit.models.small_cnn import SmallCNN


@pytest.mark.parametrize(("width", "depth"), [(4, 1), (8, 3)])
def test_logit_is_the_mean_of_its_class_activation_map(width: int, depth: int) -> None:
    torch.manual_seed(0)
    model = SmallCNN(3, width, depth).double().eval()
    images = torch.randn(2, 3, 40, 56, dtype=torch.float64)
    maps = torch.einsum("ck,bkij->bcij", model.head.weight, model.features(images))
    assert maps.shape[-2:] == (5, 7)
    expected = maps.sum(dim=(2, 3)) / 35 + model.head.bias
    torch.testing.assert_close(model(images), expected, rtol=1e-12, atol=1e-12)


def test_grid_at_112_pixels_is_14() -> None:
    assert SmallCNN(2).features(torch.zeros(1, 3, 112, 112)).shape[-2:] == (14, 14)


def test_out_of_place_relu_is_the_only_nonlinearity() -> None:
    kinds = {type(module) for module in SmallCNN(2).modules() if not list(module.children())}
    assert kinds == {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear}
    relus = [module for module in SmallCNN(2).modules() if isinstance(module, nn.ReLU)]
    assert not any(relu.inplace for relu in relus)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}, {"num_classes": 0}])
def test_sizes_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="at least 1"):
        SmallCNN(**({"num_classes": 2} | wrong))
