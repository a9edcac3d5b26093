"""Accuracy of the classifier, overall and per class and subgroup."""

from __future__ import annotations

import numpy as np

from audit.evidence.inputs import Inputs, Row
from audit.evidence.intervals import distinct, rate
from audit.tables import ALL


def accuracy(inputs: Inputs) -> list[Row]:
    """Part of the samples classified rightly, per true class (and all) and subgroup."""
    right = (inputs.prediction == inputs.label).astype(np.float64)
    confidence = inputs.config.statistics.confidence
    everyone = np.ones(right.size, dtype=np.bool_)
    members = {ALL: everyone} | {name: inputs.label == name for name in inputs.classes}
    return [
        Row(
            measure="accuracy",
            target_class=cell.target_class,
            attribute=cell.attribute,
            subgroup=cell.subgroup,
            n=int(cell.inside.sum()),
            clusters=distinct(inputs.cluster[cell.inside]),
            interval=rate(right[cell.inside], inputs.cluster[cell.inside], confidence),
        )
        for name, inside in members.items()
        for cell in inputs.cells(name, inside)
    ]
