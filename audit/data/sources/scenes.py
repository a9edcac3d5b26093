"""The embedded demo: drawn into a cache folder once, then read as a manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from audit.config import Columns, Data
from audit.data import scenes
from audit.data.cache import cache_folder
from audit.data.sources import manifest
from audit.data.sources.base import Manifest, Progress, source


@source("scenes")
def read(data: Data, workers: int, progress: Progress | None) -> Manifest:
    """Draw the scenes if the cache has not got them yet, and read their manifest.

    Training rows default to the split ``train``, audited rows to ``test``.
    """
    assert not isinstance(data.root, str)  # which the configuration refuses
    folder = (data.root or cache_folder()) / _digest(data)
    scenes.generate(folder, data.scenes, workers=workers, progress=progress)
    filled = data.model_copy(
        update={
            "root": folder,
            "manifest": "manifest.csv",
            "columns": Columns(),
            "train": data.train or {"split": "train"},
            "audit": data.audit or {"split": "test"},
        }
    )
    return manifest.read(filled, workers, progress)


def _digest(data: Data) -> str:
    """Digest of the settings and of the drawing code, so that cached scenes are never stale."""
    digest = hashlib.sha256(json.dumps(data.scenes.model_dump(), sort_keys=True).encode())
    for code in sorted(Path(scenes.__file__).parent.glob("*.py")):
        digest.update(code.read_bytes())
    return "scenes-" + digest.hexdigest()[:16]
