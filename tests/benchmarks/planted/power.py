"""Whether the printed detectable effect is the one that is confirmed four times out of five."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from audit.config import Audit, Roles
from audit.tables import INTERVENTIONS, SAMPLES, to_arrow
from tests.benchmarks.planted.audit import NO_ATTENTION, Result, config_of, judged
from tests.benchmarks.planted.scenes import CLASSES, stream

SIZES = (50, 100, 200, 400)  # clusters of a finding

_PLACEBO = 0.04  # flips under the placebo
_STEPS = 4  # towards the effect that its own audits print


def simulate(clusters: int, audits: int) -> dict[str, Any]:
    """Power at the effect that clean audits print, and at the one that audits of it print.

    A larger effect varies more than none, so what a clean audit prints is a little too small.
    """
    few = max(5, audits // 20)
    clean = _printed(_audit(clusters, 0.0, i, "clean") for i in range(few))
    effect = clean
    for step in range(_STEPS):
        effect = _printed(_audit(clusters, effect, i, f"step {step}") for i in range(few))
    return {
        "clusters": clusters,
        "audits": audits,
        "clean": clean,
        "confirmed_at_clean": _confirmed(clusters, clean, audits),
        "own": effect,
        "confirmed_at_own": _confirmed(clusters, effect, audits),
    }


def _printed(results: Any) -> float:
    return float(np.mean([r.evidence["detectable"].mean() for r in results]))


def _confirmed(clusters: int, effect: float, audits: int) -> int:
    results = [_audit(clusters, effect, i, "power") for i in range(audits)]
    return sum(r.findings[0].status == "CONFIRMED" for r in results)


def _audit(clusters: int, effect: float, number: int, purpose: str) -> Result:
    """An audit with one finding whose acts flip so much more than their placebos.

    Both fills flip the same pictures, so that the weakest act costs no power: that is not what
    the printed effect speaks of. The margin drops with the flips.
    """
    rng = stream(number, "power", purpose, str(clusters))
    names = [f"s{i:04d}" for i in range(clusters)]
    frame = pd.DataFrame(
        {
            "sample_id": names,
            "path": names,
            "part": "audit",
            "label": CLASSES[0],
            "cluster_id": names,
            "status": "ok",
            "reason": "",
            "prediction": CLASSES[0],
            "score": 0.9,
            "margin": rng.normal(2.0, 1.0, clusters),
            "true_margin": 1.0,
        }
    )
    flipped = {
        "act": rng.random(clusters) < _PLACEBO + effect,
        "placebo": rng.random(clusters) < _PLACEBO,
    }
    rows = [
        frame[["sample_id"]].assign(
            region="cue",
            test="removal",
            arm=arm,
            fill=fill,
            donor_id=None,
            area=0.1,
            margin_before=frame["margin"],
            margin_after=frame["margin"] - 2.0 * flips + rng.normal(0, 0.2, clusters),
            prediction_before=CLASSES[0],
            prediction_after=np.where(flips, CLASSES[1], CLASSES[0]),
            true_margin_before=1.0,
            true_margin_after=1.0,
            logits_before=None,
            logits_after=None,
        )
        for fill in ("blur", "local-mean")
        for arm, flips in flipped.items()
    ]
    tables = {
        "samples": to_arrow(frame, SAMPLES).to_pandas(),
        "interventions": to_arrow(pd.concat(rows), INTERVENTIONS).to_pandas(),
        "attention": NO_ATTENTION,
    }
    return judged(tables, _one_finding(), attention=False)


def _one_finding() -> Audit:
    """The audit of a cue that is forbidden for one class alone."""
    config = config_of("hair")
    allowed = {CLASSES[1]: Roles(allowed=["cue"])}
    regions = config.regions.model_copy(update={"per_class": allowed})
    quick = config.statistics.model_copy(update={"resamples": 999})
    return config.model_copy(update={"regions": regions, "statistics": quick})
