"""A small convolutional network for small data and few cores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.errors import ModelError


class SmallCNN(nn.Module):
    """Convolutions, global average pooling and one linear layer.

    Blocks of convolution, batch normalisation and ReLU: three halve the grid and double the
    channels, ``depth - 1`` more keep both. With such a head Grad-CAM equals CAM (arXiv 1610.02391,
    section 3.1), and with ReLU as the only non-linearity Guided Backprop is defined. The grid is
    an eighth of the input, 14 x 14 for 112 pixels: at a sixteenth, a region 25 pixels wide would
    be two or three cells, too few to measure.

    Parameters
    ----------
    num_classes
        Number of logits.
    width
        Channels of the first block; the last have four times as many.
    depth
        Blocks on the last grid.

    Examples
    --------
    >>> model = SmallCNN(num_classes=2).eval()
    >>> model(torch.zeros(1, 3, 112, 112)).shape
    torch.Size([1, 2])
    >>> model.features(torch.zeros(1, 3, 112, 112)).shape
    torch.Size([1, 96, 14, 14])
    """

    def __init__(self, num_classes: int, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        if min(num_classes, width, depth) < 1:
            raise ModelError("small-cnn: num_classes, width and depth must be at least 1")
        channels = 4 * width
        self.features = nn.Sequential(
            _block(3, width, stride=2),
            _block(width, 2 * width, stride=2),
            _block(2 * width, channels, stride=2),
            *(_block(channels, channels, stride=1) for _ in range(depth - 1)),
        )
        self.head = nn.Linear(channels, num_classes)
        self.to(memory_format=torch.channels_last)  # a quarter faster on CPUs

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, num_classes]`` of normalised images ``[B, 3, h, w]``."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
