"""What an audit costs as a function of its samples: a fixed part and a part of each, per stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

EXPLAIN, INTERVENE, LOAD = "explain", "intervene", "load data and model"


@dataclass(frozen=True)
class Line:
    """A cost that grows in proportion to a count.

    Attributes
    ----------
    fixed, each
        At a count of 0, and for each one more.
    error
        Root mean square of the residuals, relative to the largest cost it was fitted to.
    """

    fixed: float
    each: float
    error: float = 0.0

    def at(self, count: float) -> float:
        """The cost of a count."""
        return self.fixed + self.each * count


def fit(counts: Sequence[float], costs: Sequence[float]) -> Line:
    """The line of least squares; neither part is below 0.

    Where one would be, it is 0, and the other is fitted alone.
    """
    x, y = np.asarray(counts, np.float64), np.asarray(costs, np.float64)
    each, fixed = (float(value) for value in np.polyfit(x, y, 1))
    if fixed < 0:
        fixed, each = 0.0, float(x @ y / (x @ x))
    elif each < 0:
        fixed, each = float(y.mean()), 0.0
    residuals = y - fixed - each * x
    largest = float(y.max())
    error = float(np.sqrt(np.square(residuals).mean())) / largest if largest > 0 else 0.0
    return Line(fixed, each, error)


@dataclass(frozen=True)
class Model:
    """What an audit costs.

    Attributes
    ----------
    stages
        Seconds of each stage by the number of samples; of ``intervene`` by the number altered.
    most_altered
        Samples that are altered at most, however many there are.
    """

    stages: Mapping[str, Line]
    most_altered: float

    def altered(self, samples: float) -> float:
        """How many of the samples are altered."""
        return min(samples, self.most_altered)


@dataclass(frozen=True)
class Projection:
    """Seconds of an audit on several workers.

    Attributes
    ----------
    driver
        Stages that one process does, the others waiting.
    loading
        Data and model read by driver and workers: by the driver to plan and to conclude, by every
        worker at once in between.
    shards
        Explaining and intervening, shared by the workers.
    """

    driver: Mapping[str, float]
    loading: float
    shards: float

    @property
    def total(self) -> float:
        """From start to end."""
        return sum(self.driver.values()) + self.loading + self.shards

    @property
    def serial(self) -> float:
        """The part of the total that more workers leave as it is."""
        return (self.total - self.shards) / self.total

    @property
    def dominant(self) -> str:
        """What takes longest."""
        costs = {**self.driver, LOAD: self.loading, "shards": self.shards}
        return max(costs, key=lambda name: costs[name])


def project(model: Model, samples: float, workers: int) -> Projection:
    """What an audit of so many samples would take on so many workers, each as fast as the measured.

    Shards are shared evenly and cost nothing to hand out; the fixed cost of a shard is in the
    measured cost per sample.

    Parameters
    ----------
    model
        Of the measured audits.
    samples
        Audited samples.
    workers
        Processes, each with a device of its own.
    """
    driver = {
        name: line.at(samples)
        for name, line in model.stages.items()
        if name not in (EXPLAIN, INTERVENE, LOAD)
    }
    explain, intervene = model.stages[EXPLAIN], model.stages[INTERVENE]
    shared = explain.each * samples + intervene.each * model.altered(samples)
    return Projection(
        driver,
        3 * model.stages[LOAD].at(samples),
        explain.fixed + intervene.fixed + shared / workers,
    )
