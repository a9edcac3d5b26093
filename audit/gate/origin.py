"""Where a finding comes from: bias of the data against reliance of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from audit.config import Audit, Policy
from audit.evidence.association import ATTRIBUTE, AUDIT, REGION, TRAINING
from audit.gate.findings import DataBias, Finding, Origin, Status
from audit.gate.remedies import remedy

_RELIED: dict[Status, bool] = {
    "CONFIRMED": True,
    "WAIVED": True,
    "KNOWN": True,
    "CLEARED": False,
}
_ORIGINS: dict[tuple[bool, bool], Origin] = {  # data biased, relied on
    (True, True): "data-biased and relied on",
    (True, False): "data-biased and not relied on",
    (False, True): "relied on without bias in this data",
    (False, False): "neither",
}


def with_origins(
    findings: Sequence[Finding], association: pd.DataFrame, cells: pd.DataFrame, config: Audit
) -> list[Finding]:
    """Findings with the bias of the data, the origin and, where CONFIRMED, what to do about it.

    The origin explains a finding; it changes neither status nor verdict.

    Parameters
    ----------
    findings
        As judged.
    association, cells
        Tables as in :mod:`audit.tables`.
    config
        The audit.
    """
    found = []
    for finding in findings:
        bias = data_bias(finding, association, config)
        told = replace(finding, data_bias=bias, origin=origin(finding.status, bias))
        if told.status == "CONFIRMED":
            told = replace(told, remedy=remedy(told, cells, config))
        found.append(told)
    return found


def origin(status: Status, bias: DataBias | None) -> Origin | None:
    """Data bias and reliance together; None where either is not decided."""
    if bias is None or bias.status == "undecided" or status not in _RELIED:
        return None
    return _ORIGINS[bias.status == "biased", _RELIED[status]]


def data_bias(finding: Finding, association: pd.DataFrame, config: Audit) -> DataBias | None:
    """Whether the class is tied to an attribute that the region reveals, or to its presence.

    In the training data, for the finding's class against the rest. Biased if any factor is,
    unbiased if all are; None where there is nothing to compare.
    """
    rows = association[association["measure"] == "cramers_v"]
    rows = rows.astype(dict.fromkeys(("part", "kind", "factor", "target_class"), object))
    part = TRAINING if (association["part"] == TRAINING).any() else AUDIT
    speaking = config.regions.reveals.get(finding.region, config.data.attributes)
    about = ((rows["kind"] == ATTRIBUTE) & rows["factor"].isin(speaking)) | (
        (rows["kind"] == REGION) & (rows["factor"] == finding.region)
    )
    rows = rows[(rows["part"] == part) & (rows["target_class"] == finding.target_class) & about]
    if rows.empty:
        return None
    biased, unbiased = _decided(rows, config.policy)
    status = "biased" if biased.any() else "unbiased" if unbiased.all() else "undecided"
    ranked = rows[biased] if biased.any() else rows
    ranked = ranked.sort_values(["effect", "kind", "factor"], ascending=[False, True, True])
    strongest: Any = ranked.iloc[0]
    return DataBias(
        status,  # type: ignore[arg-type]
        part,
        str(strongest["kind"]),
        str(strongest["factor"]),
        float(strongest["effect"]),
        _number(strongest["low"]),
        _number(strongest["high"]),
        _number(strongest["p_adjusted"]),
        also=[str(name) for name in ranked["factor"].iloc[1:]] if biased.any() else [],
    )


def _decided(rows: pd.DataFrame, policy: Policy) -> tuple[pd.Series[bool], pd.Series[bool]]:
    significant = rows["p_adjusted"] < policy.alpha
    biased = significant & (rows["lower_limit"] > policy.association_fail)
    return biased, rows["upper_limit"] < policy.association_pass


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
