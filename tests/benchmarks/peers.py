"""The public libraries, called as their documentation says; for comparisons of cost and maps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Maps = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Peer:
    """A library's act, and how its result compares with ours.

    Parameters
    ----------
    name
        Library and method.
    act
        Computes the maps of a batch.
    guided
        Whether it is compared with guided backpropagation, else with Grad-CAM.
    maps
        From the result to maps; None where the library defines something else.
    alike
        From our raw maps to what the library would give.
    """

    name: str
    act: Callable[[], Any]
    guided: bool = False
    maps: Maps | None = None
    alike: Maps = lambda ours: ours

    def deviation(self, ours: Tensor) -> float | None:
        """Largest difference, as part of the largest value; None if not comparable."""
        if self.maps is None:
            return None
        theirs, wanted = self.maps(self.act()), self.alike(ours)
        if theirs.shape != wanted.shape:  # tokens, which only one library puts on their grid
            return None
        return float((theirs - wanted).abs().max() / wanted.abs().max())


def installed(model: nn.Module, layer: str, images: Tensor, guided: bool) -> list[Peer]:
    """Grad-CAM, and where it is defined Guided Grad-CAM, by every library that is installed."""
    targets = torch.arange(len(images), device=images.device)
    makers = [_pytorch_grad_cam, _captum, _torchcam]
    makers += [_pytorch_guided_grad_cam, _captum_guided, _zennit_guided] if guided else []
    peers = []
    for make in makers:
        with suppress(ImportError):
            peers.append(
                make(deepcopy(model), layer, images.clone(), targets)
            )  # some change its flags
    return peers


def _scaled(maps: Tensor) -> Tensor:
    """The positive part, each map from 0 to 1."""
    positive = maps.clamp(min=0)
    low, high = positive.amin((-2, -1), keepdim=True), positive.amax((-2, -1), keepdim=True)
    return (positive - low) / (high - low).clamp(min=1e-12)


def _pytorch_grad_cam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Peer:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model, [model.get_submodule(layer)], reshape_transform=_grid_of_tokens)
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]
    size = (images.shape[-2], images.shape[-1])

    def alike(ours: Tensor) -> Tensor:
        scaled = _scaled(ours).cpu()[:, None]
        return F.interpolate(scaled, size, mode="bilinear", align_corners=False)[:, 0]

    return Peer(
        "pytorch-grad-cam: Grad-CAM",
        lambda: cam(input_tensor=images, targets=wanted),
        maps=torch.from_numpy,
        alike=alike,
    )


def _grid_of_tokens(output: Tensor) -> Tensor:
    """What the library's documentation has its user write for a ViT."""
    if output.ndim != 3:
        return output
    side = round((output.shape[1] - 1) ** 0.5)
    return output[:, 1:].reshape(len(output), side, side, -1).permute(0, 3, 1, 2)


def _pytorch_guided_grad_cam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Peer:
    from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model=model, target_layers=[model.get_submodule(layer)])
    guided = GuidedBackpropReLUModel(model=model, device=images.device)
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]

    def act() -> list[Any]:
        maps = cam(input_tensor=images, targets=wanted)
        pairs = zip(images, targets, maps, strict=True)
        return [guided(i[None], target_category=int(t)) * m[..., None] for i, t, m in pairs]

    return Peer("pytorch-grad-cam: Guided Grad-CAM", act, guided=True)


def _captum(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Peer:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(model, model.get_submodule(layer))
    return Peer(
        "captum: Grad-CAM",
        lambda: cam.attribute(images, targets),
        maps=lambda found: found[:, 0].detach(),
    )


def _captum_guided(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Peer:
    from captum.attr import GuidedGradCam

    cam = GuidedGradCam(model, model.get_submodule(layer))
    return Peer("captum: Guided Grad-CAM", lambda: cam.attribute(images, targets), guided=True)


def _torchcam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Peer:
    from torchcam.methods import GradCAM

    def act() -> Any:
        with GradCAM(model, target_layer=layer) as cam:
            return cam(targets.tolist(), model(images))

    return Peer("torchcam: Grad-CAM", act, maps=lambda found: found[0], alike=_scaled)


def _zennit_guided(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Peer:
    from zennit.attribution import Gradient
    from zennit.composites import GuidedBackprop

    def act() -> Any:
        with Gradient(model=model, composite=GuidedBackprop()) as attributor:
            outputs = model(images[:1]).shape[1]
            return attributor(images, torch.eye(outputs, device=images.device)[targets])

    return Peer(
        "zennit: guided backpropagation", act, guided=True, maps=lambda found: found[1].detach()
    )
