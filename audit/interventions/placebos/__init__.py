"""Placebos: one file each, registered by name when imported here."""

from audit.interventions.placebos.compact import compact
from audit.interventions.placebos.registry import PLACEBOS, Placebo, placebo_mask, register
from audit.interventions.placebos.same_shape import same_shape

__all__ = ["PLACEBOS", "Placebo", "compact", "placebo_mask", "register", "same_shape"]
