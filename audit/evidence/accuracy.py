"""Accuracy of the classifier, overall and per class and subgroup."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audit.evidence.inputs import Cell, Inputs, Row
from audit.evidence.intervals import distinct, rate
from audit.tables import ALL


def accuracy(inputs: Inputs) -> list[Row]:
    """Part of the samples classified rightly, per true class (and all) and subgroup."""
    return [accuracy_in(inputs, cell) for cell in accuracy_cells(inputs)]


def accuracy_cells(inputs: Inputs) -> Iterator[Cell]:
    """All samples and every true class, each followed by its subgroups."""
    yield from inputs.cells(ALL, np.ones(len(inputs.label), dtype=np.bool_))
    for name in inputs.classes:
        yield from inputs.cells(name, inputs.label == name)


def accuracy_in(inputs: Inputs, cell: Cell) -> Row:
    """Part of the samples of a cell that are classified rightly."""
    right = (inputs.prediction == inputs.label).astype(np.float64)[cell.inside]
    clusters = inputs.cluster[cell.inside]
    return Row(
        measure="accuracy",
        target_class=cell.target_class,
        attribute=cell.attribute,
        subgroup=cell.subgroup,
        n=right.size,
        clusters=distinct(clusters),
        interval=rate(right, clusters, inputs.config.statistics.confidence),
    )
