"""All evidence of an audit in one table: the measures, then what concerns all of them together."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from scipy import stats

from audit.config import Audit, Policy
from audit.evidence import alignment, disparity, reliance, sufficiency
from audit.evidence.accuracy import accuracy
from audit.evidence.calibration import calibration
from audit.evidence.conflict import aligned_gap
from audit.evidence.correction import BENJAMINI_HOCHBERG, HOLM, corrected
from audit.evidence.inputs import Inputs, Row, read_inputs
from audit.evidence.shares import attention_shares
from audit.evidence.true_class import true_margin_effect
from audit.evidence.worst_group import worst_group
from audit.parts import Rows
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
    alignment.alignment,
    disparity.disparity,
)
#: The attention screen: one family of tests.
SCREEN = (alignment.MEASURE, disparity.MEASURE)
_POWER = 0.80


def thresholds(policy: Policy) -> dict[str, tuple[float, float]]:
    """Measure: the effect above which it is reliance, and the one that must be ruled out."""
    return {
        reliance.MEASURE: (policy.fail_effect, policy.pass_effect),
        sufficiency.MEASURE: (policy.sufficiency_fail, policy.sufficiency_pass),
    }


def build_evidence(
    samples: pd.DataFrame,
    attention: Rows,
    interventions: pd.DataFrame,
    config: Audit,
    maps: Rows | None = None,
) -> pd.DataFrame:
    """Test and estimate everything the audit asks for.

    Parameters
    ----------
    samples, attention, interventions
        Tables as in :mod:`audit.tables`, in any row order; of the last two only the columns
        ``ATTENTION_COLUMNS`` and ``INTERVENTIONS_COLUMNS`` are needed. The attention may be
        :class:`~audit.parts.Parts` of a stored table.
    config
        The audit.
    maps
        Likewise (``MAPS_COLUMNS``); without it nothing is said of alignment.

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
    inputs = read_inputs(samples, attention, interventions, config, maps)
    rows = [row for measure in MEASURES for row in measure(inputs)]
    if not rows:
        return empty(EVIDENCE)
    frame = pd.DataFrame([row.record() for row in rows])
    frame["p_adjusted"] = _holm(frame).fillna(_screened(frame, config.policy))
    frame["detectable"] = _detectable(frame, config)
    evidence: pd.DataFrame = to_arrow(frame, EVIDENCE).to_pandas()
    return evidence


def _holm(frame: pd.DataFrame) -> pd.Series:
    """Holm-adjusted p over the required tests that could be done."""
    p = frame["p"].where(frame["required"])
    return pd.Series(corrected(p, HOLM), index=frame.index)


def _screened(frame: pd.DataFrame, policy: Policy) -> pd.Series:
    """Benjamini-Hochberg q over the screen's tests with enough clusters."""
    least = frame["measure"].map(
        {alignment.MEASURE: policy.min_clusters, disparity.MEASURE: policy.min_subgroup_clusters}
    )
    p = frame["p"].where(frame["clusters"] >= least)
    return pd.Series(corrected(p, BENJAMINI_HOCHBERG), index=frame.index)


def _detectable(frame: pd.DataFrame, config: Audit) -> pd.Series:
    """Effect whose lower limit would be above the failing one with 80 % power, at this size.

    In the attention screen: above zero. By the normal approximation; the standard error is read
    off the one-sided limits, which exist at zero events too.
    """
    z, z_power = (float(stats.norm.ppf(q)) for q in (config.statistics.confidence, _POWER))
    error = (frame["upper_limit"] - frame["lower_limit"]) / (2 * z)
    fails = {name: low for name, (low, _) in thresholds(config.policy).items()}
    fail = frame["measure"].map(fails | dict.fromkeys(SCREEN, 0.0))
    flips = frame["measure"] == reliance.MEASURE
    detectable: pd.Series = fail + (z + z_power) * error
    return detectable.mask(flips, _detectable_flips(frame, fail, error, z + z_power))


def _detectable_flips(
    frame: pd.DataFrame, fail: pd.Series, error: pd.Series, reach: float
) -> pd.Series:
    """The effect ``d = fail + reach * (its own standard error)``, of excess flips.

    More flips vary more: where the placebo flips as it does, the variance of a pair at the effect
    d is the one at the effect e that was found, and (d - e)(1 - d - e) on top. The larger root of
    the quadratic equation in d.
    """
    found = frame["effect"]
    growth = reach**2 / frame["clusters"].clip(lower=1)
    square, linear = 1 + growth, 2 * fail + growth
    constant = fail**2 - (reach * error) ** 2 + growth * found * (1 - found)
    root = (linear**2 - 4 * square * constant).clip(lower=0) ** 0.5
    return (linear + root) / (2 * square)
