"""Maps and regions to numbers per sample and region."""

from audit.attention.measure import Attention, measure

__all__ = ["Attention", "measure"]
