"""The explainer scorecard: all checks in one table.

Randomisation is the gate, the other checks inform.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from audit.checks import gate, informing
from audit.checks.rows import Row, undefined
from audit.checks.subject import Subject, chosen, subject_of
from audit.context import Context
from audit.errors import ModelError
from audit.tables import SCORECARD, empty, to_arrow

Progress = Callable[[str, int, int], None]  # stage, done, total

STAGE = "check the explainer"

#: Name of each check, and what makes its rows.
CHECKS: dict[str, Callable[[Subject], list[Row]]] = {
    gate.CHECK: gate.randomisation,
    "curves": informing.curves,
    "agreement": informing.occlusion_agreement,
    "pointing": informing.pointing,
    "localisation": informing.localisation_of_core,
    "robustness": informing.robustness,
}

#: Those that inform alone and are costly: they look at few of the samples.
COSTLY = frozenset({"curves", "agreement", "robustness"})


def examine_explainer(
    context: Context, progress: Progress = lambda stage, done, total: None
) -> pd.DataFrame:
    """The ``scorecard`` table of an audit; empty where the checks are switched off.

    The checks look at the same evenly spaced samples (costly ones that inform alone at few of
    them) and explain their true class. One that is
    not defined for the model or the data has a row with n = 0 whose meaning says why.

    Parameters
    ----------
    context
        Data, model, layer; left as they were.
    progress
        Told how far the checks are.
    """
    config = context.config.checks
    positions = chosen(context, config.samples)
    if not config.enabled or len(positions) == 0:
        return empty(SCORECARD)
    batches, of_few = (
        -(-count // context.config.execution.batch_size)
        for count in (len(positions), min(config.few, len(positions)))
    )
    cheap = len(CHECKS) - len(COSTLY)  # the gate among them, which counts itself; but loading too
    total = gate.passes(config) + batches * cheap + of_few * len(COSTLY)
    done = 0

    def tick() -> None:
        nonlocal done
        done = min(done + 1, total)
        progress(STAGE, done, total)

    progress(STAGE, 0, total)
    try:
        subject = subject_of(context, positions, tick)
    except (ModelError, ValueError) as error:
        rows = [_undefined(name, error) for name in CHECKS]
    else:
        rows = [row for name in CHECKS for row in _checked(name, subject)]
    progress(STAGE, total, total)
    frame = pd.DataFrame([row.record() for row in rows])
    frame["passed"] = frame["passed"].astype("boolean")
    scorecard: pd.DataFrame = to_arrow(frame, SCORECARD).to_pandas()
    return scorecard


def _checked(name: str, subject: Subject) -> list[Row]:
    try:
        few = subject.config.checks.few
        return CHECKS[name](subject.few(few) if name in COSTLY else subject)
    except (ModelError, ValueError) as error:
        return [_undefined(name, error)]


def _undefined(name: str, error: Exception) -> Row:
    return undefined(name, str(error), gates=name == gate.CHECK)
