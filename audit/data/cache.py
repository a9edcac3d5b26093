"""The folder for what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Drawn scenes and copies of remote data: ``$CUECHECK_CACHE``, else ``~/.cache/cuecheck``."""
    return Path(os.environ.get("CUECHECK_CACHE") or Path.home() / ".cache" / "cuecheck")
