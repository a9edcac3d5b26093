from __future__ import annotations

from hypothesis import settings

# The same examples every time, and no deadline: CI machines are slow by turns.
settings.register_profile("cuecheck", deadline=None, derandomize=True)
settings.load_profile("cuecheck")
