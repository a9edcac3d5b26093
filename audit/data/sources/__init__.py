"""Where samples come from: one reader per data-set format."""

from audit.data.sources import folder, manifest, scenes  # registers each reader
from audit.data.sources.base import SOURCES, Manifest, read_samples

__all__ = ["SOURCES", "Manifest", "folder", "manifest", "read_samples", "scenes"]
