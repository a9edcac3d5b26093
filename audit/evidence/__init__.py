"""Numbers per sample in, tests, intervals and effects out: the evidence that the gate judges."""

from __future__ import annotations

from audit.evidence.build import MEASURES, build_evidence
from audit.evidence.inputs import ATTENTION_COLUMNS, INTERVENTIONS_COLUMNS, MAPS_COLUMNS

__all__ = [
    "ATTENTION_COLUMNS",
    "INTERVENTIONS_COLUMNS",
    "MAPS_COLUMNS",
    "MEASURES",
    "build_evidence",
]
