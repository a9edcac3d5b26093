"""The cascade: what becomes random, in which order, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audit.checks.randomisation import ALL_WEIGHTS, cascade, randomise, stages_of
from audit.errors import ModelError


class Net(nn.Module):
    """Layers that are not called in the order in which they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.scale = nn.Parameter(torch.linspace(1, 2, 4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        places = self.trunk(images).flatten(2).transpose(1, 2) * self.scale
        mixed, _ = self.attention(places, places, places)
        return self.head(mixed.mean(1))


def run(module: nn.Module) -> Tensor:
    return module(torch.zeros(1, 3, 6, 6))


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval()


def test_stages_go_from_the_head_down_and_hold_every_weight_once(net: Net) -> None:
    stages = stages_of(net, run, 4)
    assert stages[0].modules == ("head",)
    assert stages[-1].name == ALL_WEIGHTS
    names = [name for stage in stages for name in stage.modules]
    assert names == ["head", "attention.out_proj", "attention", "trunk.1", "trunk.0", ""]
    assert 2 <= len(stages) <= 4
    held = {id(p) for name in names for p in net.get_submodule(name).parameters(recurse=False)}
    assert held == {id(p) for p in net.parameters()}


def test_a_model_of_one_layer_has_one_stage_and_one_without_weights_none() -> None:
    single = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    assert [stage.name for stage in stages_of(single, run, 5)] == [ALL_WEIGHTS]
    assert stages_of(nn.Flatten(), run, 5) == []


def test_each_stage_changes_its_weights_and_those_before_it_alone(net: Net) -> None:
    stages = stages_of(net, run, 4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random_state = torch.get_rng_state()
    done: set[str] = set()
    for stage, altered in cascade(net, stages, 7):
        done |= set(stage.modules)
        for name, parameter in altered.named_parameters():
            varies = len(before[name].unique()) > 1
            changed = not torch.equal(parameter, before[name])
            assert varies <= changed if name.rpartition(".")[0] in done else not changed, name
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(part._forward_pre_hooks for part in net.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_draws_are_of_the_seed_alone(net: Net) -> None:
    stages = stages_of(net, run, 2)

    def weights(seed: int) -> Tensor:
        *_, (_, altered) = cascade(net, stages, seed)
        return torch.cat([p.flatten() for p in altered.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_statistics_of_normalisations_are_reset() -> None:
    norm = nn.BatchNorm2d(4)
    norm.running_mean.fill_(3)  # type: ignore[union-attr]
    norm.running_var.fill_(9)  # type: ignore[union-attr]
    randomise(norm, ("",), 0)
    assert norm.running_mean.eq(0).all()  # type: ignore[union-attr]
    assert norm.running_var.eq(1).all()  # type: ignore[union-attr]


def test_parameters_of_unknown_modules_keep_their_mean_and_spread() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(4000.0) / 1000 + 5)

    own = Own()
    before = own.weight.detach().clone()
    randomise(own, ("",), 0)
    assert not torch.equal(own.weight, before)
    assert float(own.weight.detach().mean()) == pytest.approx(float(before.mean()), abs=0.1)
    assert float(own.weight.detach().std()) == pytest.approx(float(before.std()), rel=0.1)


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_a_parametrised_weight_becomes_random_too(wrap: object) -> None:
    with pytest.warns(FutureWarning) if wrap is nn.utils.weight_norm else _nothing():
        layer = wrap(nn.Linear(8, 8))  # type: ignore[operator]
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), layer).requires_grad_(False)
    before = model(torch.ones(1, 3, 6, 6))
    layer_before = layer(torch.ones(8)).clone()
    stages = stages_of(model, run, 2)
    *_, (_, altered) = cascade(model, stages, 0)
    assert not torch.allclose(altered[2](torch.ones(8)), layer_before)
    assert torch.equal(model(torch.ones(1, 3, 6, 6)), before)


def test_a_model_that_cannot_be_copied_is_told() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: object) -> None:
            raise TypeError("holds a socket")

    with pytest.raises(ModelError, match=r"cannot be copied .* random \(holds a socket\)"):
        next(cascade(Stubborn(2, 2), [], 0))


class _nothing:  # noqa: N801 - a context that expects no warning
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
