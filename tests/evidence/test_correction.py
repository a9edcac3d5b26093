"""Corrections for a family of tests against their step-by-step definitions."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audit.evidence.correction import BENJAMINI_HOCHBERG, HOLM, corrected

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12)


def holm(p: list[float]) -> list[float]:
    """The smallest p times m, the next times m - 1 ..., never falling, at most 1."""
    adjusted, largest = [math.nan] * len(p), 0.0
    known = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        adjusted[i] = largest
    return adjusted


def benjamini_hochberg(p: list[float]) -> list[float]:
    """Of every p the least m p / rank of those as large or larger."""
    known = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    adjusted, least = [math.nan] * len(p), 1.0
    for rank in range(len(known), 0, -1):
        value, i = known[rank - 1]
        least = min(least, value * len(known) / rank)
        adjusted[i] = least
    return adjusted


@given(P_VALUES)
def test_corrections_are_those_of_their_papers(p: list[float]) -> None:
    np.testing.assert_allclose(corrected(p, HOLM), holm(p), rtol=1e-12)
    np.testing.assert_allclose(corrected(p, BENJAMINI_HOCHBERG), benjamini_hochberg(p), rtol=1e-12)
