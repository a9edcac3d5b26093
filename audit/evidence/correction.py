"""p-values of a family of tests, corrected for there being many."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from audit.evidence.intervals import Floats

HOLM: Literal["holm"] = "holm"
BENJAMINI_HOCHBERG: Literal["fdr_bh"] = "fdr_bh"
Method = Literal["holm", "fdr_bh"]


def corrected(p: ArrayLike, method: Method) -> Floats:
    """Adjusted p of the tests that could be done; NaN for the others.

    Parameters
    ----------
    p
        [tests], NaN where a test could not be done; those are not part of the family.
    method
        Holm, Scandinavian Journal of Statistics 6 (1979) 65-70, or Benjamini and Hochberg, JRSS B
        57 (1995) 289-300.

    >>> corrected([0.01, float("nan"), 0.04], HOLM)
    array([0.02,  nan, 0.04])
    """
    values = np.array(p, dtype=np.float64)
    done = np.isfinite(values)
    if done.any():
        values[done] = multipletests(values[done], method=method)[1]
    values[~done] = np.nan
    return values
