"""What holds for every registered method: shapes, batches, state, errors, precision, threads."""

from __future__ import annotations

import re
import threading
import weakref
from collections import OrderedDict, UserDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from audit.attribution import METHODS, attribute, explain
from audit.attribution.methods.registry import ByGradient
from audit.errors import ModelError
from tests.attribution import nets

LAYER = "features"
TARGETS = [3, 0, 1]

pytestmark = pytest.mark.parametrize("method", sorted(METHODS))


def run(model: nn.Module, method: str, **changed: Any) -> Tensor:
    arguments: dict[str, Any] = {"images": nets.pictures(dtype=torch.float64), "targets": TARGETS}
    return explain(model, **{**arguments, "layer": LAYER, **changed}, method=method)


IN_THE_IMAGE = {name for name in METHODS if re.search("gradient|guided|deconvolution", name)}


def net_for(method: str, head: nn.Module | None = None) -> nets.Net:
    """A network for which the method is defined: cam wants its head linear."""
    if method == "cam":
        return nets.Net(nets.Gap() if head is None else head, after=nn.Identity())
    return nets.Net(nets.mlp_head() if head is None else head)


@pytest.fixture
def model(method: str) -> nn.Module:
    return nets.ready(net_for(method))


@pytest.fixture
def goes_back(method: str) -> None:
    if not isinstance(METHODS[method], ByGradient):
        pytest.skip("the method asks for scores only, there is no backward pass")


def state_of(model: nn.Module) -> list[Any]:
    """All that a pass must leave as it was."""
    found: list[Any] = [torch.is_grad_enabled(), torch.is_inference_mode_enabled()]
    for module in model.modules():
        found += [module.training, *(dict(v) for k, v in vars(module).items() if "hooks" in k)]
    found += [(p.requires_grad, p.grad, p._version) for p in model.parameters()]
    return found + [buffer._version for buffer in model.buffers()]


def unsettled(model: nn.Module) -> None:
    """Mixed flags, a hook of the user's own, and parameter gradients."""
    model.train()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    model.conv.register_forward_hook(lambda *_: None)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7)


def test_shapes_and_kind(model: nn.Module, method: str) -> None:
    images = nets.pictures(3, (16, 24)).requires_grad_()
    per_image = (14, 14) if method == "occlusion" else (4, 6)
    per_image = (3, 16, 24) if method in IN_THE_IMAGE else per_image
    for targets, leading in [
        (TARGETS, (3,)),
        (torch.tensor(TARGETS), (3,)),
        (torch.tensor(TARGETS, dtype=torch.int32)[:, None], (3, 1)),
        (torch.tensor([[0, 1]] * 3), (3, 2)),
    ]:
        net = net_for(method, nets.Gap())
        found = run(net, method, images=images, targets=targets)
        assert found.shape == leading + per_image
        assert found.dtype == torch.float32
        assert found.grad_fn is None and not found.requires_grad


def test_batch_equals_single_calls_in_any_order(model: nn.Module, method: str) -> None:
    images = nets.pictures(dtype=torch.float64)
    whole = run(model, method)
    single = [run(model, method, images=images[[b]], targets=[TARGETS[b]]) for b in range(3)]
    assert_close(whole, torch.cat(single))
    order = [2, 0, 1]
    permuted = run(model, method, images=images[order], targets=[TARGETS[b] for b in order])
    assert_close(permuted, whole[order])


def test_classes_at_once_equal_one_by_one(model: nn.Module, method: str) -> None:
    targets = torch.tensor([[3, 1, 4], [0, 0, 2], [1, 2, 3]])
    at_once = run(model, method, targets=targets)
    one_by_one = [run(model, method, targets=column) for column in targets.T]
    assert_close(at_once, torch.stack(one_by_one, 1))


@pytest.mark.usefixtures("goes_back")
def test_head_without_batched_form(method: str) -> None:
    class Sized(nets.Gap):
        def forward(self, x: Tensor) -> Tensor:
            x.register_hook(lambda grad: grad * (1 + 0 * grad.sum().item()))
            return super().forward(x)

    targets = torch.tensor([[3, 1], [0, 0], [1, 2]])
    plain, sized = (nets.ready(net_for(method, head)) for head in (nets.Gap(), Sized()))
    assert_close(run(sized, method, targets=targets), run(plain, method, targets=targets))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1], r"wanted \[3\] or \[3, K\].* got \[2\]"),
        ([0, 1, 2, 3], r"got \[4\]"),
        ([], r"got \[0\]"),
        (torch.zeros(2, 3, dtype=torch.int64), r"got \[2, 3\]"),
        (torch.zeros(3, 0, dtype=torch.int64), r"got \[3, 0\]"),
        (torch.tensor(1), r"got \[\]"),
        ([0.0, 1.0, 2.0], "integer class ids, got torch.float32"),
        ([True, False, True], "integer class ids, got torch.bool"),
        ([0, 5, 1], "class 5 is out of range, the model has 5 classes"),
        ([0, -1, 1], "class -1 is out of range"),
    ],
)
def test_wrong_targets(model: nn.Module, method: str, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(model, method, targets=targets)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 16, 16), r"\[B, C, H, W\] with B > 0, got torch.float32 \[3, 16, 16\]"),
        (torch.zeros(3, 3, 16, 16, dtype=torch.uint8), "got torch.uint8"),
        (torch.zeros(0, 3, 16, 16), r"got torch.float32 \[0, 3, 16, 16\]"),
    ],
)
def test_wrong_images(model: nn.Module, method: str, images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(model, method, images=images)


@pytest.mark.parametrize(
    "around", [nullcontext, torch.no_grad, torch.inference_mode, torch.enable_grad]
)
def test_model_and_modes_are_left_as_they_were(
    model: nn.Module, method: str, around: Callable[[], Any]
) -> None:
    settled = run(model, method)
    unsettled(model)
    with around():
        before = state_of(model)
        images = nets.pictures(dtype=torch.float64)
        found = run(model, method, images=images)
        assert state_of(model) == before
    assert_close(found.clone(), settled, rtol=0, atol=0)
    assert all((parameter.grad == 7).all() for parameter in model.parameters())


def test_frozen_parameters(model: nn.Module, method: str) -> None:
    trainable = run(model, method)
    assert_close(run(model.requires_grad_(False), method), trainable, rtol=0, atol=0)


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("planted")


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        return x.clone()

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        raise RuntimeError("planted")


@pytest.mark.parametrize("where", ["before", "after", "output", "target", "backward"])
def test_nothing_is_left_behind_by_a_failure(model: nn.Module, method: str, where: str) -> None:
    changed: dict[str, Any] = {}
    if where == "before":
        model.inner = Fails()
    if where == "after":
        model.drop = Fails()
    if where == "output":
        changed["output"] = Fails().forward
    if where == "target":
        changed["targets"] = [0, 1, 99]
    if where == "backward":
        model.drop = nets.Wrapped(model.drop, FailsBackward.apply)
    unsettled(model)
    before = state_of(model)
    if where == "backward" and not isinstance(METHODS[method], ByGradient):
        pytest.skip("the method asks for scores only, there is no backward pass")
    with pytest.raises((RuntimeError, ValueError, ModelError)):
        run(model, method, **changed)
    assert state_of(model) == before


def test_images_are_left_as_they_were(method: str) -> None:
    class Overwrites(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net_for(method, nets.Gap())

        def forward(self, x: Tensor) -> Any:
            return self.net(x.mul_(2).sub_(1))

    model = nets.ready(Overwrites())
    images = nets.pictures(dtype=torch.float64).requires_grad_()
    images.grad = torch.full_like(images, 7)
    copy = images.detach().clone()
    inside = {"images": images, "layer": f"net.{LAYER}"}
    first = run(model, method, **inside)
    assert_close(run(model, method, **inside), first, rtol=0, atol=0)
    assert_close(images.detach(), copy, rtol=0, atol=0)
    assert images.requires_grad and (images.grad == 7).all()


@pytest.mark.usefixtures("goes_back")
def test_nothing_of_the_graph_is_kept(model: nn.Module, method: str) -> None:
    class Handle:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor.detach()  # with its graph it would keep itself alive

    saved: list[weakref.ref[Handle]] = []

    def pack(tensor: Tensor) -> Handle:
        handle = Handle(tensor)
        saved.append(weakref.ref(handle))
        return handle

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda handle: handle.tensor):
        kept = run(model, method)
    assert kept.isfinite().all() and len(saved) > 0
    assert all(handle() is None for handle in saved)


def test_two_runs_are_bit_equal(model: nn.Module, method: str) -> None:
    assert torch.equal(run(model, method), run(model, method))


WRAPS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "tuple": (lambda y: (y * 0, y), lambda result: result[1]),
    "dict": (lambda y: {"aux": y * 0, "out": y}, lambda result: result["out"]),
    "object": (lambda y: SimpleNamespace(logits=y), lambda result: result.logits),
    "mapping": (lambda y: UserDict(OrderedDict(logits=y)), lambda result: result["logits"]),
    "classes last": (lambda y: y[:, None, None, :], lambda result: result[:, 0, 0]),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_output_selector(model: nn.Module, method: str, kind: str) -> None:
    wrap, select = WRAPS[kind]
    wrapped = nets.Wrapped(model, wrap)
    found = run(wrapped, method, output=select, layer="net.features")
    assert_close(found, run(model, method), rtol=0, atol=0)
    with pytest.raises(ModelError, match=r"output=|wanted \[3, classes\], got \[3, 1, 1, 5\]"):
        run(wrapped, method, layer="net.features")


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "autocast"])
def test_reduced_precision(model: nn.Module, method: str, precision: str) -> None:
    model = model.float()
    exact = run(model, method, images=nets.pictures())
    if precision == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = run(model, method, images=nets.pictures())
    else:
        dtype = getattr(torch, precision)
        found = run(model.to(dtype), method, images=nets.pictures(dtype=dtype))
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 5e-2 * exact.norm()


def test_channels_last_memory(model: nn.Module, method: str) -> None:
    images = nets.pictures(dtype=torch.float64)
    found = run(
        model.to(memory_format=torch.channels_last),
        method,
        images=images.to(memory_format=torch.channels_last),
    )
    assert_close(found, run(model.to(memory_format=torch.contiguous_format), method))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(model: nn.Module, method: str) -> None:
    on_cpu = run(model.float(), method, images=nets.pictures())
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        on_cuda = run(model.cuda(), method, images=nets.pictures().cuda())
    assert on_cuda.is_cuda
    assert (on_cuda.cpu() - on_cpu).norm() < 1e-4 * on_cpu.norm()


WRAPPERS: dict[str, tuple[Callable[[nn.Module], Any], str]] = {
    "DataParallel": (nn.DataParallel, r"explain its \.module"),
    "compiled": (torch.compile, r"compiled; .*_orig_mod"),
    "compiled inside": (
        lambda net: nn.Sequential(torch.compile(net)),
        "layer '0' is compiled",
    ),
    "traced": (
        lambda net: torch.jit.trace(net, nets.pictures(dtype=torch.float64)),
        "eager model it was made from",
    ),
    "exported": (
        lambda net: torch.export.export(net, (nets.pictures(dtype=torch.float64),)).module(),
        "the model is exported; explain the eager model it was made from",
    ),
    "exported inside": (
        lambda net: nn.Sequential(
            torch.export.export(net, (nets.pictures(dtype=torch.float64),)).module()
        ),
        "layer '0' is exported",
    ),
    "unflattened": (
        lambda net: torch.export.unflatten(
            torch.export.export(net, (nets.pictures(dtype=torch.float64),))
        ),
        "is exported; explain the eager model",
    ),
    "function": (lambda net: net.forward, "not a torch.nn.Module"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrappers_are_refused_with_the_remedy(model: nn.Module, method: str, kind: str) -> None:
    wrap, remedy = WRAPPERS[kind]
    with pytest.raises(ModelError, match=remedy):
        run(wrap(model), method)


def test_symbolically_traced_model_equals_the_eager_one(model: nn.Module, method: str) -> None:
    traced = torch.fx.symbolic_trace(model)
    assert_close(run(traced, method), run(model, method), rtol=0, atol=0)


def test_map_that_is_not_finite_is_refused(model: nn.Module, method: str) -> None:
    model.features.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"3 of 3 images is not finite .*torch\.float64"):
        run(model, method)
    with pytest.raises(ModelError, match=r"layer 'features' of 3 of 3 images is not finite"):
        attribute(model, nets.pictures(dtype=torch.float64), lambda y: y.argmax(1), layer=LAYER)


def test_model_compiled_in_place_is_refused(model: nn.Module, method: str) -> None:
    model.head.compile()
    with pytest.raises(ModelError, match="layer 'head' is compiled"):
        run(model, method)


def test_threads_share_a_model(model: nn.Module, method: str) -> None:
    batches = [nets.pictures(dtype=torch.float64) * (1 + n) for n in range(8)]
    alone = [run(model, method, images=images) for images in batches]
    start = threading.Barrier(4)

    def work(n: int) -> Tensor:
        if n < 4:
            start.wait(timeout=30)
        return run(model, method, images=batches[n])

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(8)))
    assert all(map(torch.equal, together, alone))


def test_predictions_are_explained_from_the_same_forward(model: nn.Module, method: str) -> None:
    forwards = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    images = nets.pictures(dtype=torch.float64)
    found = attribute(
        model,
        images,
        lambda logits: torch.stack([torch.tensor(TARGETS), logits.argmax(1)], 1),
        layer=LAYER,
        guided="guided" in method,
    )
    assert len(forwards) == 1
    predicted = found.logits.argmax(1)
    assert_close(found.logits, model(images).detach())
    assert found.logits.grad_fn is None
    if method == "grad-cam":
        assert_close(found.maps[:, 1], run(model, method, targets=predicted))
    if method == "guided-backprop":
        assert found.guided is not None
        assert_close(found.guided[:, 1], run(model, method, targets=predicted))


def test_passes_can_be_nested(model: nn.Module, method: str) -> None:
    inner = []

    def choose(logits: Tensor) -> Tensor:
        inner.append(run(model, method))
        return logits.argmax(1)

    images = nets.pictures(dtype=torch.float64)
    nested, alone = (
        attribute(model, images, chooser, layer=LAYER).maps
        for chooser in (choose, lambda logits: logits.argmax(1))
    )
    assert torch.equal(nested, alone)
    assert torch.equal(inner[0], run(model, method))


def test_unknown_method(model: nn.Module, method: str) -> None:
    with pytest.raises(ValueError, match=f"'{method}s' is unknown; there are .*grad-cam"):
        run(model, method + "s")
