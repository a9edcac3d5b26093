"""The embedded demo: scenes of doctors and nurses, drawn by code, with exact region masks."""

from __future__ import annotations

from audit.data.scenes.generate import (
    CLASSES,
    GENDERS,
    REGION_CODES,
    SKIN_TONES,
    generate,
    plan,
)

__all__ = ["CLASSES", "GENDERS", "REGION_CODES", "SKIN_TONES", "generate", "plan"]
