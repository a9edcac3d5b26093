"""What it takes to judge a large run again, from its tables alone.

``python -m tests.benchmarks.rejudge [--samples 100000] [--classes 40] [--subgroups 5]``

Tables in memory: 4 regions of which 2 forbidden, 2 fills and the swap, each with its control, on a
7 x 7 grid. Prints seconds per measure, of the whole evidence, and of the findings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from audit.config import Audit
from audit.evidence import build as evidence_build
from audit.evidence import build_evidence
from audit.evidence.inputs import Inputs, Row
from audit.gate import decide, judge_findings

REGIONS = ("face", "hair", "tools", "clothing")
Measure = Callable[[Inputs], list[Row]]

FORBIDDEN = ("face", "hair")
SIDE = 7


def config_of(classes: list[str], bootstraps: int, permutations: int) -> Audit:
    """An audit with the given classes; resamples are the larger of the two numbers."""
    return Audit.model_validate(
        {
            "name": "rejudge",
            "data": {
                "root": "data",
                "train": {"part": "train"},
                "attributes": ["group"],
                "classes": classes,
            },
            "regions": {
                "source": {
                    "encoding": "codes",
                    "values": {name: i for i, name in enumerate(REGIONS)},
                },
                "roles": {"core": ["tools"], "forbidden": list(FORBIDDEN)},
            },
            "interventions": {"swap": {"attribute": "group", "match": ["label"]}},
            "statistics": {"resamples": max(bootstraps, permutations)},
        }
    )


def tables(n: int, classes: list[str], subgroups: int) -> tuple[pd.DataFrame, ...]:
    """Samples, attention, interventions and maps; hair is followed by half of the classes."""
    rng = np.random.default_rng(0)
    ids = np.array([f"s{i:06d}" for i in range(n)], dtype=object)
    names = np.array(classes, dtype=object)
    label = rng.integers(0, len(names), n)
    prediction = np.where(rng.random(n) < 0.9, label, rng.integers(0, len(names), n))
    margin = rng.normal(2, 1, n)
    true_margin = np.where(prediction == label, margin, -margin)
    samples = pd.DataFrame(
        {
            "sample_id": ids,
            "part": "audit",
            "label": names[label],
            "cluster_id": ids,
            "status": "ok",
            "stands_for": 1.0,
            "prediction": names[prediction],
            "score": 1 / (1 + np.exp(-margin)),
            "margin": margin,
            "true_margin": true_margin,
            "attribute:group": np.array([f"g{i}" for i in range(subgroups)], dtype=object)[
                rng.integers(0, subgroups, n)
            ],
        }
    )
    masks = (rng.random((n, len(REGIONS), SIDE * SIDE)) < 0.15).astype(np.float32)
    raw = rng.gamma(1.0, size=(n, SIDE * SIDE)).astype(np.float32)
    raw += (label % 2)[:, None] * masks[:, REGIONS.index("hair")]
    share = np.einsum("nc,nrc->nr", raw, masks) / raw.sum(1, keepdims=True)
    area = masks.mean(2)
    inside = np.clip(share, 1 / 98, 1 - 1 / 98)
    safe = np.clip(area, 1 / 98, 1 - 1 / 98)
    attention = pd.DataFrame(
        {
            "sample_id": np.repeat(ids, len(REGIONS)),
            "method": "grad-cam",
            "explained": "true",
            "region": np.tile(np.array(REGIONS, dtype=object), n),
            "share": share.reshape(-1),
            "area": area.reshape(-1),
            "rho": ((inside / safe) / ((1 - inside) / (1 - safe))).reshape(-1),
            "measurable": (masks.sum(2) >= 2).reshape(-1),
        }
    )
    parts = []
    for region in FORBIDDEN:
        for test, fill in (("removal", "blur"), ("removal", "local-mean"), ("swap", "donor")):
            for arm, rate in (("act", 0.2 if region == "hair" else 0.05), ("placebo", 0.05)):
                flipped = rng.random(n) < rate
                moved = rng.normal(0, 0.2, n) - flipped
                parts.append(
                    pd.DataFrame(
                        {
                            "sample_id": ids,
                            "region": region,
                            "test": test,
                            "arm": arm,
                            "fill": fill,
                            "donor_id": rng.permutation(ids) if test == "swap" else None,
                            "margin_after": margin + moved,
                            "true_margin_after": true_margin + moved,
                            "prediction_before": names[prediction],
                            "prediction_after": names[(prediction + flipped) % len(names)],
                            "logits_before": None,
                            "logits_after": None,
                        }
                    )
                )
    maps = pd.DataFrame(
        {
            "sample_id": ids,
            "explained": "true",
            "map": list(raw),
            "masks": list(masks.astype(np.float16).reshape(n, -1)),
        }
    )
    coded = [
        pd.concat(parts, ignore_index=True).astype(
            dict.fromkeys(
                ["region", "test", "arm", "fill", "prediction_before", "prediction_after"],
                "category",
            )
        )
    ]
    return samples, attention, coded[0], maps


def timed(measure: Measure) -> Measure:
    """A measure that prints how long it took."""

    def run(inputs: Inputs) -> list[Row]:
        begun = time.perf_counter()
        rows = measure(inputs)
        seconds = time.perf_counter() - begun
        print(f"{measure.__name__:24} {seconds:7.1f} s {len(rows):7,} rows", flush=True)
        return rows

    return run


def main() -> None:
    """Time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("samples", 100_000),
        ("classes", 40),
        ("subgroups", 5),
        ("bootstraps", 2000),
        ("permutations", 4000),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    classes = [f"class {i:03d}" for i in range(options.classes)]
    config = config_of(classes, options.bootstraps, options.permutations)
    samples, attention, interventions, maps = tables(options.samples, classes, options.subgroups)

    evidence_build.MEASURES = tuple(map(timed, evidence_build.MEASURES))
    start = time.perf_counter()
    evidence = build_evidence(samples, attention, interventions, config, maps)
    built = time.perf_counter()
    findings = judge_findings(evidence, config)
    verdict = decide(findings)
    judged = time.perf_counter()
    print(f"{'all evidence':24} {built - start:7.1f} s {len(evidence):7,} rows")
    print(f"{'findings and verdict':24} {judged - built:7.1f} s {len(findings):7,} findings")
    print(f"{'together':24} {judged - start:7.1f} s, {verdict.verdict}")


if __name__ == "__main__":
    main()
