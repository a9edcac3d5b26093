"""The classifier that a configuration names, ready to be audited."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from audit import config
from audit.errors import ConfigError, ModelError
from audit.models.classifier import Classifier, normalise, output_columns
from audit.models.registry import build
from audit.models.weights import load_weights, read_weights

_ENDINGS = {
    "SoftmaxBackward0": "softmax",
    "LogSoftmaxBackward0": "log-softmax",
    "SigmoidBackward0": "sigmoid",
}
_RESHAPING = ("View", "Reshape", "Squeeze", "Unsqueeze", "Clone", "Alias", "ToCopy", "Select")


def load_classifier(
    model: config.Model,
    classes: list[str],
    device: torch.device,
    *,
    weights: Path | None = None,
    labels: Sequence[str] = (),
) -> Classifier:
    """Build the model, load its weights and check what it returns.

    Parameters
    ----------
    model
        The configuration's section.
    classes
        Class names in the audit's order.
    device
        Where the model goes.
    weights
        Weights that the run trained itself, for exactly ``classes``; default: the configuration's
        checkpoint, or those that a pretrained factory brings.
    labels
        Of a multi-label model, the labels in the order of its outputs, unless ``model.outputs``
        lists them; ``classes`` are then the two sides of one of them (:func:`config.sides`).

    Raises
    ------
    ModelError
        If the model cannot be built or loaded, does not have one output per class name, or ends in
        a softmax or sigmoid.
    """
    names = classes if weights else output_names(model, list(labels) or classes)
    label_output = _position(classes[1], names) if labels else None
    outputs = [0, 1] if labels else [_position(name, names) for name in classes]
    module = build(model.architecture, model.arguments, len(names))
    path = weights or model.checkpoint
    if path is not None:
        load_weights(module, read_weights(path), path)
    module = module.to(device).eval().requires_grad_(False)
    check_output(module, model, names, device, one_for_two=not labels)
    channels_last(module, torch.zeros(1, 3, *model.input.size, device=device))
    return Classifier(module, list(classes), outputs, model.input, device, label_output)


def channels_last(module: nn.Module, probe: Tensor) -> nn.Module:
    """The model with its filters stored channels last, in which convolutions are faster.

    Measured on a CPU: ResNet-50 1.4 times, VGG-16 1.3 times, EfficientNet-B0 1.1 times. A model
    that fails so on the probe, as one that calls ``view`` on a convolution's output, is left as
    it was.
    """
    layers = [layer.weight for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    filters = [weight for weight in layers if isinstance(weight, nn.Parameter)]
    for weight in filters:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            module(probe.clone())
    except Exception:  # it ran before, so it is the order that the user's code does not bear
        for weight in filters:
            weight.data = weight.data.contiguous()
    return module


def output_names(model: config.Model, classes: list[str]) -> list[str]:
    """Class names of the model's outputs, in their order.

    Raises
    ------
    ConfigError
        If ``model.outputs`` names a file that cannot be read.
    """
    if model.outputs is None:
        return list(classes)
    if not isinstance(model.outputs, Path):
        return list(model.outputs)
    try:
        text = model.outputs.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"model.outputs: {model.outputs} cannot be read: {error}") from error
    return [line.strip() for line in text.rstrip().splitlines()]


def _position(name: str, names: list[str]) -> int:
    if names.count(name) == 1:
        return names.index(name)
    if name in names:  # as ImageNet's "crane", which is a bird and a machine
        raise ModelError(f"class '{name}': model.outputs has it more than once; rename all but one")
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"near it: {', '.join(near)}" if near else f"they are: {', '.join(names[:5])} ..."
    raise ModelError(
        f"class '{name}' is not among the model's {len(names)} outputs (model.outputs); {hint}"
    )


def check_output(
    module: nn.Module,
    model: config.Model,
    names: list[str],
    device: torch.device,
    *,
    one_for_two: bool = True,
) -> None:
    """Run the model once on noise: one finite logit per output name, and really logits.

    Parameters
    ----------
    module
        The model, in eval mode, on ``device``.
    model
        The configuration's section.
    names
        Class names of the outputs.
    device
        Where the model is.
    one_for_two
        Whether a single logit may stand for two classes.

    Raises
    ------
    ModelError
        If it fails, or what it returns is something else.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 3, *model.input.size, generator=generator).to(device)
    images = normalise(noise, model.input).requires_grad_()
    try:
        with torch.enable_grad():
            raw = module(images)
    except Exception as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{model.architecture}: fails on input {[*images.shape]} (model.input.size): {reason}"
        ) from error
    logits = output_columns(raw)
    n_outputs = logits.shape[1] if logits.ndim == 2 else None
    if n_outputs is None:
        raise ModelError(
            f"{model.architecture}: returns {[*logits.shape]} for 2 pictures, not [2, outputs]"
        )
    single = one_for_two and (n_outputs, len(names)) == (1, 2)
    if n_outputs != len(names) and not single:
        todo = (
            "build it with as many outputs (model.arguments)"
            if model.trains
            else "list the names of all outputs in model.outputs"
        )
        raise ModelError(
            f"{model.architecture}: has {n_outputs} outputs, but there are {len(names)} class "
            f"names; {todo}"
        )
    if not bool(logits.isfinite().all()):
        raise ModelError(f"{model.architecture}: returns NaN or infinity; are the weights damaged?")
    ending = _ending(logits)
    if ending:
        raise ModelError(
            f"{model.architecture}: ends in a {ending}, which flattens the gradients that maps are "
            "made of; return logits (the values before it)"
        )


def _ending(output: Tensor) -> str | None:
    """Name of the softmax or sigmoid that the output comes from, if any."""
    node = output.grad_fn
    while node is not None and node.name().startswith(_RESHAPING):
        node = node.next_functions[0][0]
    if node is not None and node.name() in _ENDINGS:
        return _ENDINGS[node.name()]
    values = output.detach().double()
    sums_to_one = (values.sum(dim=1) - 1).abs().max() < 1e-4
    if values.shape[1] > 1 and bool(values.min() >= 0) and bool(sums_to_one):
        return "softmax"
    return None
