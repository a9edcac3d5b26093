"""Models by name: ours, torchvision's, the user's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from audit.errors import ModelError
from audit.models.classifier import first_tensor
from audit.models.registry import architectures, build
from tests.models import toys

SMALLEST_OF_FAMILY = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_16",
    "wide_resnet50_2",
]


@pytest.mark.parametrize("name", ["small-cnn", *SMALLEST_OF_FAMILY])
def test_architecture_has_the_outputs_asked_for(name: str) -> None:
    side = 299 if name == "inception_v3" else 224
    device = "cpu" if name.startswith("regnet") else "meta"  # regnet computes its widths
    with torch.device(device):  # meta: shapes only, neither initial weights nor arithmetic
        module = build(name, {}, n_outputs=3).eval()
        assert first_tensor(module(torch.empty(2, 3, side, side))).shape == (2, 3)


def test_no_family_of_torchvision_is_left_out() -> None:
    def family(name: str) -> str:
        return name.replace("wide_", "wide").replace("_v", "v").split("_")[0].rstrip("0123456789")

    untested = {family(name) for name in architectures()}
    untested -= {family(name) for name in ["small-cnn", *SMALLEST_OF_FAMILY]}
    assert not {name for name in untested if not name.startswith(("mnasnet1", "densenet"))}


def test_arguments_win_over_the_number_of_outputs() -> None:
    module = build("small-cnn", {"width": 4, "num_classes": 1}, n_outputs=2)
    assert module(torch.zeros(1, 3, 16, 16)).shape == (1, 1)


def test_user_factory_gets_the_number_of_outputs_if_it_takes_it() -> None:
    assert build("tests.models.toys:many", {}, n_outputs=5).head.out_features == 5
    assert build("tests.models.toys:single_logit", {}, n_outputs=5).head.out_features == 1


def test_class_in_a_module_is_a_factory_too() -> None:
    assert isinstance(build("tests.models.toys:Tiny", {}, n_outputs=2), toys.Tiny)
    assert isinstance(build("torch:nn.Identity", {}, n_outputs=2), nn.Identity)


def test_modules_of_the_current_folder_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_net.py").write_text(
        "import torch\ndef net(k): return torch.nn.Linear(1, k)"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert build("my_own_net:net", {"k": 4}, n_outputs=2).out_features == 4
    assert sys.path == before


BROKEN_MODULES = {
    "needs_absent": "import absent_library",
    "has_a_typo": "def net(:",
    "raises": "1 / 0",
}


@pytest.mark.parametrize(
    ("architecture", "arguments", "message"),
    [
        ("resnet_18", {}, "'resnet_18' is not known; did you mean resnet18"),
        ("qqq", {}, "'qqq' is not known; e.g. small-cnn, resnet18"),
        ("resnet18", {"depth": 3}, r"resnet18\(num_classes=2, depth=3\) failed: TypeError"),
        ("small-cnn", {"width": 0}, "width and depth must be at least 1"),
        ("no_such_module:net", {}, "module 'no_such_module' not found in the current folder"),
        ("tests.absent.module:net", {}, "module 'tests.absent.module' not found"),
        (":net", {}, "importing '' failed: ValueError: Empty module name"),
        ("needs_absent:net", {}, "importing 'needs_absent' failed: No module named 'absent_lib"),
        ("has_a_typo:net", {}, "importing 'has_a_typo' failed: SyntaxError"),
        ("raises:net", {}, "importing 'raises' failed: ZeroDivisionError: division by zero"),
        ("tests.models.toys:absent", {}, "module 'tests.models.toys' has no 'absent'"),
        ("tests.models.toys:", {}, "module 'tests.models.toys' has no ''"),
        ("tests.models.toys:CLASSES", {}, "'tests.models.toys:CLASSES' is not a function"),
        ("tests.models.toys:broken", {}, r"broken\(\) failed: RuntimeError: no luck$"),
        ("tests.models.toys:answer", {}, "returned int, not a torch.nn.Module"),
        ("tests.models.toys:many", {"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_what_failed_is_named_in_one_line(
    architecture: str,
    arguments: dict[str, int],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in BROKEN_MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=message) as raised:
        build(architecture, arguments, n_outputs=2)
    assert "\n" not in str(raised.value)
