"""What the scorecard says about trust."""

from __future__ import annotations

import pandas as pd


def explainer_trusted(scorecard: pd.DataFrame) -> bool | None:
    """Whether attention may flag: every gate passed.

    Returns
    -------
    True or False, which it also is where a gate was undecided; None where nothing was checked.
    """
    gates = scorecard.loc[scorecard["gates"].eq(True), "passed"]
    return bool(gates.eq(True).fillna(False).all()) if len(gates) else None
