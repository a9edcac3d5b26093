"""What the scorecard says about trust."""

from __future__ import annotations

import pandas as pd


def explainer_trusted(scorecard: pd.DataFrame) -> bool | None:
    """Whether attention may flag: every gate passed.

    Returns
    -------
    True or False; None where nothing was checked, or a gate could not be and none failed.
    """
    gates = scorecard.loc[scorecard["gates"].eq(True), "passed"]
    passed = [None if pd.isna(value) else bool(value) for value in gates]
    if not passed or False in passed:
        return False if passed else None
    return None if None in passed else True
