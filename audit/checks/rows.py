"""Rows of the scorecard."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit.checks.subject import Subject
from audit.evidence.bootstrap import cluster_means
from audit.evidence.intervals import Codes, Floats, Interval, cluster_sums, rate
from audit.evidence.signflip import generator
from audit.tables import ALL

RESAMPLES = 999  # enough for limits of this size


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the scorecard."""

    check: str
    statistic: str
    meaning: str
    stage: str = ALL
    region: str = ALL
    n: int = 0
    clusters: int = 0
    interval: Interval = field(default_factory=Interval)
    p: float = math.nan
    threshold: float = math.nan
    gates: bool = False
    passed: bool | None = None

    def record(self) -> dict[str, Any]:
        """The row as columns."""
        columns = {name: value for name, value in vars(self).items() if name != "interval"}
        limits = {name: getattr(self.interval, name) for name in ("effect", "low", "high")}
        return columns | limits | {"upper_limit": self.interval.upper_limit}


def undefined(check: str, why: str, statistic: str = ALL, *, gates: bool = False) -> Row:
    """A row of what could not be measured, and why."""
    return Row(
        check=check,
        statistic=statistic,
        meaning=f"Not measured: {why}",
        gates=gates,
    )


def interval_of_mean(
    subject: Subject, values: Floats, clusters: Codes, *names: str, event: bool
) -> Interval:
    """Mean over clusters of their means ``[n]``.

    Of an event (0 to 1 per sample) the score interval of a rate, each cluster's mean counting as
    one sample: it is defined where the event never or always happens, and wide enough where a
    cluster's mean varies less than a sample.
    """
    confidence = subject.config.statistics.confidence
    if event:
        means = cluster_sums(values, clusters) / cluster_sums(np.ones(values.size), clusters)
        return rate(means, np.arange(means.size), confidence)
    rng = generator(subject.config.seed, "scorecard", *names)
    return cluster_means(values[None], clusters, confidence, RESAMPLES, rng)[0]
