"""Fills: one file each, registered by name when imported here."""

from audit.interventions.fills.blur import blur
from audit.interventions.fills.inpaint import inpaint
from audit.interventions.fills.local_mean import local_mean
from audit.interventions.fills.noise import noise
from audit.interventions.fills.registry import (
    FILLS,
    Fill,
    check_fills,
    fill,
    fill_versions,
    register,
)

__all__ = [
    "FILLS",
    "Fill",
    "blur",
    "check_fills",
    "fill",
    "fill_versions",
    "inpaint",
    "local_mean",
    "noise",
    "register",
]
