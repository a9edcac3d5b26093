from __future__ import annotations

import pytest
import torch

from audit.errors import ModelError
from audit.models.devices import choose_device
from tests.models.toys import configuration


def on(device: str) -> torch.device:
    audit = configuration()
    execution = audit.execution.model_copy(update={"device": device})
    return choose_device(audit.model_copy(update={"execution": execution}))


def test_devices_that_are_there() -> None:
    assert on("cpu") == torch.device("cpu")
    assert on("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", "mps", "xla", "", "cuda:x"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}' is no device; use auto, cpu or cuda"):
        on(name)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'cuda:99', but there are \d+ CUDA devices"):
        on("cuda:99")
