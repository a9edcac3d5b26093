"""All evidence of an audit in one table: the measures, then what concerns all of them together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from audit.config import Audit, Policy
from audit.evidence import reliance, sufficiency
from audit.evidence.accuracy import accuracy
from audit.evidence.calibration import calibration
from audit.evidence.conflict import aligned_gap
from audit.evidence.inputs import Inputs, Row, read_inputs
from audit.evidence.shares import attention_shares
from audit.evidence.true_class import true_margin_effect
from audit.evidence.worst_group import worst_group
from audit.tables import EVIDENCE, empty, to_arrow

#: Everything that is measured: tables of an audit in, rows of the evidence table out.
MEASURES: tuple[Callable[[Inputs], list[Row]], ...] = (
    reliance.removal_and_swap,
    sufficiency.sufficiency,
    accuracy,
    worst_group,
    aligned_gap,
    calibration,
    true_margin_effect,
    attention_shares,
)
_POWER = 0.80


def thresholds(policy: Policy) -> dict[str, tuple[float, float]]:
    """Measure: the effect above which it is reliance, and the one that must be ruled out."""
    return {
        reliance.MEASURE: (policy.fail_effect, policy.pass_effect),
        sufficiency.MEASURE: (policy.sufficiency_fail, policy.sufficiency_pass),
    }


def build_evidence(
    samples: pd.DataFrame, attention: pd.DataFrame, interventions: pd.DataFrame, config: Audit
) -> pd.DataFrame:
    """Test and estimate everything the audit asks for.

    Parameters
    ----------
    samples, attention, interventions
        Tables as in :mod:`audit.tables`, in any row order; of the last two only the columns
        ``ATTENTION_COLUMNS`` and ``INTERVENTIONS_COLUMNS`` are needed.
    config
        The audit.

    Returns
    -------
    pandas.DataFrame
        The evidence table. Every required region and class is in it, with n = 0 where nothing
        could be measured.

    Raises
    ------
    RunError
        If the tables do not belong together.
    """
    inputs = read_inputs(samples, attention, interventions, config)
    rows = [row for measure in MEASURES for row in measure(inputs)]
    if not rows:
        return empty(EVIDENCE)
    frame = pd.DataFrame([row.record() for row in rows])
    frame["p_adjusted"] = _holm(frame)
    frame["detectable"] = _detectable(frame, config)
    evidence: pd.DataFrame = to_arrow(frame, EVIDENCE).to_pandas()
    return evidence


def _holm(frame: pd.DataFrame) -> pd.Series:
    """Holm-adjusted p over the required tests that could be done."""
    adjusted = pd.Series(np.nan, index=frame.index)
    family = frame["required"] & frame["p"].notna()
    if family.any():
        adjusted[family] = multipletests(frame.loc[family, "p"], method="holm")[1]
    return adjusted


def _detectable(frame: pd.DataFrame, config: Audit) -> pd.Series:
    """Effect whose lower limit would be above the failing one with 80 % power, at this size.

    By the normal approximation; the standard error is read off the one-sided limits, which exist
    at zero events too.
    """
    z, z_power = (float(stats.norm.ppf(q)) for q in (config.statistics.confidence, _POWER))
    error = (frame["upper_limit"] - frame["lower_limit"]) / (2 * z)
    fail = frame["measure"].map({name: low for name, (low, _) in thresholds(config.policy).items()})
    detectable: pd.Series = fail + (z + z_power) * error
    return detectable
