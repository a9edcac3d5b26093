"""Tables of a made-up audit with reliance planted in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings

from audit.config import Audit
from audit.evidence import build_evidence
from audit.tables import ALL, ATTENTION, INTERVENTIONS, SAMPLES, empty, to_arrow

CLASSES = ("doctor", "nurse")

#: Hypothesis on a busy machine: a fair number of examples, no complaint about their speed.
some_examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def config(**changes: Any) -> Audit:
    """An audit with face and hair forbidden and tools core; sections updated by ``changes``."""
    base: dict[str, Any] = {
        "name": "planted",
        "data": {"root": "data", "train": {"part": "train"}, "attributes": ["gender"]},
        "regions": {
            "source": {
                "encoding": "codes",
                "values": {"face": 1, "hair": 2, "tools": 3},
            },
            "derived": {"rest": {"outside": ["tools"]}},
            "roles": {"core": ["tools"], "forbidden": ["face", "hair"]},
        },
        "interventions": {"swap": {"attribute": "gender", "match": ["label"]}},
        "statistics": {"resamples": 999},
    }
    for section, values in changes.items():
        base[section] = {**base[section], **values} if section in base else values
    return Audit.model_validate(base)


def samples(
    n: int, *, cluster_size: int = 1, seed: int = 0, classes: tuple[str, ...] = CLASSES
) -> pd.DataFrame:
    """Audited samples, nine of ten classified rightly, gender independent of the class."""
    rng = np.random.default_rng(seed)
    label = np.array(classes, dtype=object)[np.arange(n) % len(classes)]
    other = np.array(classes, dtype=object)[(np.arange(n) + 1) % len(classes)]
    frame = pd.DataFrame(
        {
            "sample_id": [f"s{i:05d}" for i in range(n)],
            "path": "p.png",
            "part": "audit",
            "label": label,
            "cluster_id": [f"c{i // cluster_size:05d}" for i in range(n)],
            "status": "ok",
            "reason": "",
            "prediction": np.where(rng.random(n) < 0.9, label, other),
            "score": 0.9,
            "margin": rng.normal(2.0, 1.0, n),
            "true_margin": 1.0,
            "stands_for": 1.0,
            "attribute:gender": np.array(["man", "woman"])[rng.integers(0, 2, n)],
        }
    )
    table: pd.DataFrame = to_arrow(frame, SAMPLES).to_pandas()
    return table


def removal(
    audited: pd.DataFrame,
    region: str,
    *,
    flips: float,
    placebo_flips: float = 0.05,
    fills: tuple[str, ...] = ("blur", "local-mean"),
    swap: bool = True,
    seed: int = 1,
) -> pd.DataFrame:
    """Removal (and swap) trials: answers change at the given rates, margins drop with them."""
    parts: list[pd.DataFrame] = []
    for fill in (*fills, *(("donor",) if swap else ())):
        for arm, rate in (("act", flips), ("placebo", placebo_flips)):
            rng = np.random.default_rng([seed, len(parts)])
            flipped = rng.random(len(audited)) < rate
            test = "swap" if fill == "donor" else "removal"
            parts.append(_trials(audited, region, test, arm, fill, flipped, rng))
    return _table(pd.concat(parts))


def sufficiency(audited: pd.DataFrame, region: str, *, rest: float, seed: int = 1) -> pd.DataFrame:
    """Sufficiency trials in which some answers rest on the rest alone, the others on the core.

    What rests on the rest speaks three times as loud, so that the excess is ``rest * (1 - 1/K)``.
    """
    parts: list[pd.DataFrame] = []
    classes = np.unique(audited[["label", "prediction"]].astype(str))
    answers = np.searchsorted(classes, audited["prediction"].astype(str))
    for fill in ("blur", "local-mean"):
        rng = np.random.default_rng([seed, len(parts)])
        by_rest = rng.random(len(audited)) < rest
        part = _trials(audited, region, "sufficiency", "act", fill, ~by_rest, rng)
        loud = np.where(by_rest, 3.0, 1.0)[:, None] * np.eye(len(classes))[answers]
        faint = rng.normal(0, 0.01, loud.shape)
        part["logits_before"] = list(loud)
        part["logits_after"] = list(np.where(by_rest[:, None], loud, 0.0) + faint)
        parts.append(part)
    return _table(pd.concat(parts))


def attention(audited: pd.DataFrame, regions: tuple[str, ...], seed: int = 2) -> pd.DataFrame:
    """Grad-CAM shares of the true class; the first sample's map is dead."""
    parts: list[pd.DataFrame] = []
    for region in regions:
        rng = np.random.default_rng([seed, len(parts)])
        share = rng.uniform(0.1, 0.6, len(audited))
        share[0] = np.nan
        part = pd.DataFrame(
            {
                "sample_id": audited["sample_id"].astype(str),
                "method": "grad-cam",
                "explained": "true",
                "target_class": audited["label"].astype(str),
                "region": region,
                "share": share,
                "area": 0.2,
                "rho": (share / 0.2) / ((1 - share) / 0.8),
                "pointing": 0.0,
                "dead": np.isnan(share),
                "measurable": True,
            }
        )
        parts.append(part)
    table: pd.DataFrame = to_arrow(pd.concat(parts), ATTENTION).to_pandas()
    return table


def built(
    audited: pd.DataFrame,
    trials: pd.DataFrame,
    audit: Audit | None = None,
    attention: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Evidence with plain text columns, for picking rows."""
    attention = empty(ATTENTION) if attention is None else attention
    evidence = build_evidence(audited, attention, trials, audit or config())
    texts = evidence.select_dtypes("category").columns
    return evidence.astype(dict.fromkeys(texts, object))


def row(evidence: pd.DataFrame, **wanted: object) -> pd.Series:
    """The only row with these values; of all samples unless a subgroup is named.

    The effect of an act on the true class's margin stands beside its reliance, so it is found by
    the name of its measure only.
    """
    wanted = {"attribute": ALL, "subgroup": ALL} | wanted
    if "measure" not in wanted:
        evidence = evidence[evidence["measure"] != "true_margin_effect"]
    found = evidence[np.logical_and.reduce([evidence[k] == v for k, v in wanted.items()])]
    assert len(found) == 1
    return found.iloc[0]


def _trials(
    audited: pd.DataFrame,
    region: str,
    test: str,
    arm: str,
    fill: str,
    flipped: np.ndarray,
    rng: np.random.Generator,
) -> pd.DataFrame:
    before = audited["prediction"].astype(str).to_numpy(object)
    margin = audited["margin"].to_numpy(np.float64)
    return pd.DataFrame(
        {
            "sample_id": audited["sample_id"].astype(str),
            "region": region,
            "test": test,
            "arm": arm,
            "fill": fill,
            # everybody gives to the next one
            "donor_id": np.roll(audited["sample_id"].astype(str), 1) if fill == "donor" else None,
            "area": 0.1,
            "margin_before": margin,
            "margin_after": margin - 2.0 * flipped + rng.normal(0, 0.2, len(audited)),
            "prediction_before": before,
            "prediction_after": np.where(flipped, "another", before),
            "true_margin_before": 1.0,
            "true_margin_after": 1.0,
            "logits_before": None,
            "logits_after": None,
        }
    )


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    table: pd.DataFrame = to_arrow(frame, INTERVENTIONS).to_pandas()
    return table
