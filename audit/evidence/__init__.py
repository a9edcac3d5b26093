"""Numbers per sample in, tests, intervals and effects out: the evidence that the gate judges."""

from __future__ import annotations

from audit.evidence.build import MEASURES, build_evidence

__all__ = ["MEASURES", "build_evidence"]
