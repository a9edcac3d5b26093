"""Attribution methods: one file each, registered by name when imported here."""

from audit.attribution.methods.counterfactual import counterfactual
from audit.attribution.methods.grad_cam import grad_cam
from audit.attribution.methods.guided_backprop import guided_backprop
from audit.attribution.methods.guided_grad_cam import guided_grad_cam
from audit.attribution.methods.registry import METHODS, Method, method_named, register

__all__ = [
    "METHODS",
    "Method",
    "counterfactual",
    "grad_cam",
    "guided_backprop",
    "guided_grad_cam",
    "method_named",
    "register",
]
