"""A model and a batch of images to attribution maps, in pure PyTorch.

Maps are raw: signed, not normalised, on the grid of the layer explained. Upsampling and
normalising are for pictures (:func:`display`), never for measuring.
"""

from audit.attribution.channels import Channels, channels
from audit.attribution.explainer import Attribution, attribute, explain, guided_refusal
from audit.attribution.layers import LayerChoice, find_layer, layer_choice
from audit.attribution.methods import METHODS, guided_grad_cam, occlusion
from audit.attribution.pictures import display, upsample

__all__ = [
    "METHODS",
    "Attribution",
    "Channels",
    "LayerChoice",
    "attribute",
    "channels",
    "display",
    "explain",
    "find_layer",
    "guided_grad_cam",
    "guided_refusal",
    "layer_choice",
    "occlusion",
    "upsample",
]
