"""What happens in an audit, told to whoever listens: names, counts and seconds, no data.

Of samples only ids are told, and of a bad one the kind of its fault. Nobody listens by default.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

from audit.data.reasons import kind_of
from audit.tables import QUARANTINED

LOGGER = logging.getLogger("cuecheck")
LOGGER.addHandler(logging.NullHandler())

MOST_SAMPLES = 1000  # quarantined samples told one by one


def tell(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event; its fields are the attribute ``fields`` of the record."""
    LOGGER.log(level, event, extra={"fields": fields})


@contextmanager
def stage(name: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """Tell when a stage starts and ends, with its seconds, or by what kind of error it stopped.

    Also a decorator. What the stage puts into the dictionary is told at its end.
    """
    tell("start", stage=name, **fields)
    began, facts = time.monotonic(), dict[str, Any]()
    try:
        yield facts
    except BaseException as error:  # the message is left out: it can name files and labels
        why = {"error": type(error).__name__}
        if isinstance(error, OSError) and error.errno is not None:
            why["errno"] = str(error.errno)
        tell("stopped", level=logging.ERROR, stage=name, **fields, **why, seconds=_since(began))
        raise
    tell("end", stage=name, **fields, **facts, seconds=_since(began))


def tell_quarantined(samples: pd.DataFrame) -> None:
    """Tell every quarantined sample by id and kind of fault, the first :data:`MOST_SAMPLES`."""
    bad = samples[samples["status"] == QUARANTINED]
    for name, reason in bad[["sample_id", "reason"]].head(MOST_SAMPLES).itertuples(index=False):
        told = {"sample": str(name), "kind": kind_of(str(reason))}
        tell("quarantined", level=logging.WARNING, **told)
    if len(bad) > MOST_SAMPLES:
        tell("quarantined", level=logging.WARNING, more=len(bad) - MOST_SAMPLES)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
