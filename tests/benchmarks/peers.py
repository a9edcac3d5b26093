"""The public libraries, called as their documentation says; for speed comparisons only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

Act = Callable[[], Any]


def grad_cams(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> dict[str, Act]:
    """Grad-CAM by every library that is installed."""
    makers = (_pytorch_grad_cam, _captum, _torchcam)
    return dict(_installed(makers, model, layer, images, targets))


def guided_grad_cams(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor
) -> dict[str, Act]:
    """Guided Grad-CAM (zennit: guided backpropagation) by every library that is installed."""
    makers = (_pytorch_guided_grad_cam, _captum_guided, _zennit_guided)
    return dict(_installed(makers, model, layer, images, targets))


def _installed(
    makers: tuple[Any, ...], model: nn.Module, layer: str, images: Tensor, targets: Tensor
) -> Iterator[tuple[str, Act]]:
    for make in makers:
        with suppress(ImportError):
            yield make(model, layer, images.clone(), targets)  # some change their input's flags


def _pytorch_grad_cam(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor
) -> tuple[str, Act]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model=model, target_layers=[model.get_submodule(layer)])
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]
    return "pytorch-grad-cam", lambda: cam(input_tensor=images, targets=wanted)


def _pytorch_guided_grad_cam(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor
) -> tuple[str, Act]:
    from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model=model, target_layers=[model.get_submodule(layer)])
    guided = GuidedBackpropReLUModel(model=model, device=images.device)
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]

    def act() -> list[Any]:
        maps = cam(input_tensor=images, targets=wanted)
        pairs = zip(images, targets, maps, strict=True)
        return [guided(i[None], target_category=int(t)) * m[..., None] for i, t, m in pairs]

    return "pytorch-grad-cam", act


def _captum(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> tuple[str, Act]:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(model, model.get_submodule(layer))
    return "captum", lambda: cam.attribute(images, targets)


def _captum_guided(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor
) -> tuple[str, Act]:
    from captum.attr import GuidedGradCam

    cam = GuidedGradCam(model, model.get_submodule(layer))
    return "captum", lambda: cam.attribute(images, targets)


def _torchcam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> tuple[str, Act]:
    from torchcam.methods import GradCAM

    def act() -> Any:
        with GradCAM(model, target_layer=layer) as cam:
            return cam(targets.tolist(), model(images))

    return "torchcam", act


def _zennit_guided(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor
) -> tuple[str, Act]:
    from zennit.attribution import Gradient
    from zennit.composites import GuidedBackprop

    def act() -> Any:
        with Gradient(model=model, composite=GuidedBackprop()) as attributor:
            outputs = model(images[:1]).shape[1]
            return attributor(images, torch.eye(outputs, device=images.device)[targets])

    return "zennit (backprop only)", act
