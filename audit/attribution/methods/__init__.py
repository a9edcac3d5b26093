"""Attribution methods: one file each, registered by name when imported here."""

from audit.attribution.methods.cam import cam
from audit.attribution.methods.contrastive_mwp import contrastive_mwp
from audit.attribution.methods.counterfactual import counterfactual
from audit.attribution.methods.deconvolution import deconvolution
from audit.attribution.methods.deconvolution_grad_cam import deconvolution_grad_cam
from audit.attribution.methods.grad_cam import grad_cam
from audit.attribution.methods.gradient import gradient
from audit.attribution.methods.guided_backprop import guided_backprop
from audit.attribution.methods.guided_grad_cam import guided_grad_cam
from audit.attribution.methods.hires_cam import hires_cam
from audit.attribution.methods.layer_cam import layer_cam
from audit.attribution.methods.occlusion import occlusion
from audit.attribution.methods.registry import METHODS, Method, method_named, register

__all__ = [
    "METHODS",
    "Method",
    "cam",
    "contrastive_mwp",
    "counterfactual",
    "deconvolution",
    "deconvolution_grad_cam",
    "grad_cam",
    "gradient",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "layer_cam",
    "method_named",
    "occlusion",
    "register",
]
