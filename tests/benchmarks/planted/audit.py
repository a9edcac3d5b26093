"""Audits of the study's models by the product's own code: tables, evidence, findings.

Only reading pictures from files is left out; they are drawn in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audit.config import Audit
from audit.context import Context, Positions, choose_layer, choose_tests
from audit.data.batches import Batch
from audit.evidence import build_evidence
from audit.gate import decide, judge_findings
from audit.gate.findings import Finding
from audit.interventions.trials import ACT, PLACEBO, REMOVAL
from audit.models.classifier import Classifier
from audit.shard import Tables, measure_shard
from audit.tables import ALL, ATTENTION, SAMPLES, empty, to_arrow
from tests.benchmarks.planted.scenes import CLASSES, LOCALISED, SIDE, SPREAD, Scenes

#: What the evidence needs where no attention is looked at.
NO_ATTENTION = empty(ATTENTION)


def config_of(cue: str, seed: int = 0, **policy: Any) -> Audit:
    """The audit of a cue: the object is core; the cue, or all but the object, is forbidden."""
    values, derived = {"object": 1, "cue": 2}, {}
    if cue not in LOCALISED:
        values, derived = {"object": 1}, {"cue": {"outside": ["object"]}}
    return Audit.model_validate(
        {
            "name": f"planted-{cue}",
            "seed": seed,
            "data": {"root": ".", "train": {"part": "train"}, "classes": list(CLASSES)},
            "regions": {
                "source": {"encoding": "codes", "values": values},
                "derived": derived,
                "roles": {"core": ["object"], "forbidden": ["cue"]},
            },
            "model": {"input": {"size": [SIDE, SIDE], "mean": [0.5] * 3, "std": [0.25] * 3}},
            "explain": {"guided": False},
            "execution": {"device": "cpu", "batch_size": 200, "workers": 1},
            "policy": policy,
        }
    )


@dataclass(frozen=True)
class InMemory(Context):
    """A context whose pictures are in memory.

    Parameters
    ----------
    images
        ``[N, 3, SIDE, SIDE]`` uint8.
    core, region
        ``[N, SIDE, SIDE]`` bool, as annotated.
    """

    images: Tensor = field(kw_only=True)
    core: Tensor = field(kw_only=True)
    region: Tensor = field(kw_only=True)

    def batches(self, positions: Positions, *, batch_size: int | None = None) -> Iterator[Batch]:
        """Samples in batches, with coverage."""
        size = batch_size or self.config.execution.batch_size
        for start in range(0, len(positions), size):
            rows = positions[start : start + size]
            coverage = torch.stack([self.core[rows], self.region[rows]], 1).float()
            yield Batch(rows, self.images[rows], coverage)


def context_of(
    cue: str, classifier: Classifier, scenes: Scenes, prefix: str, seed: int = 0
) -> InMemory:
    """What the stages of an audit need; ``prefix`` makes the samples' names unique."""
    config = config_of(cue, seed)
    context = InMemory(
        config,
        None,  # type: ignore[arg-type]  # no data set: the pictures are in memory
        samples_of(scenes, prefix),
        classifier,
        choose_layer(config, classifier),
        images=scenes.images,
        core=scenes.core,
        region=annotated(cue, scenes),
    )
    return replace(context, tests=choose_tests(context))


def annotated(cue: str, scenes: Scenes) -> Tensor:
    """The cue's region: empty where there is no cue, but every head has hair."""
    if cue in SPREAD or cue == "hair":
        return scenes.region
    return scenes.region & scenes.present[:, None, None]


def samples_of(scenes: Scenes, prefix: str) -> pd.DataFrame:
    """The checked ``samples`` table of drawn pictures; each is a cluster of its own."""
    names = [f"{prefix}{i:06d}" for i in range(len(scenes))]
    frame = pd.DataFrame(
        {
            "sample_id": names,
            "path": names,
            "part": "audit",
            "label": np.array(CLASSES, dtype=object)[scenes.label.numpy()],
            "cluster_id": names,
            "status": "ok",
            "reason": "",
            "prediction": None,
            "score": np.nan,
            "margin": np.nan,
            "true_margin": np.nan,
        }
    )
    table: pd.DataFrame = to_arrow(frame, SAMPLES).to_pandas()
    return table


def measured(context: InMemory) -> Tables:
    """The tables of all pictures of a context."""
    return measure_shard(context, context.audited)


def part_of(tables: Tables, first: int, count: int) -> Tables:
    """The tables of some consecutive pictures, as if they were all that was audited."""
    names = tables["samples"]["sample_id"].iloc[first : first + count]
    return {
        name: table[table["sample_id"].isin(names)].reset_index(drop=True)
        for name, table in tables.items()
    }


def arms_exchanged(tables: Tables, rng: np.random.Generator) -> Tables:
    """The same audit with act and placebo of each picture exchanged by a fair coin.

    An exact null: whatever the model does, neither arm can be told from the other.
    """
    table = tables["interventions"]
    names = np.sort(table["sample_id"].unique())
    turned = table["sample_id"].isin(names[rng.random(len(names)) < 0.5])
    turned &= table["test"] == REMOVAL
    other = table["arm"].astype(str).map({ACT: PLACEBO, PLACEBO: ACT})
    arm = table["arm"].astype(str).where(~turned, other)
    return tables | {"interventions": table.assign(arm=arm)}


@dataclass(frozen=True)
class Result:
    """What the product says of one model.

    Parameters
    ----------
    verdict
        PASS, FAIL, INCONCLUSIVE or ERROR.
    findings
        One per class (removal) or one (sufficiency).
    evidence
        The rows that decided.
    """

    verdict: str
    findings: list[Finding]
    evidence: pd.DataFrame

    @property
    def score(self) -> float:
        """The product as a ranking: largest over findings of the weakest act's lower limit.

        Fixed before any result was seen: the limit is what the verdict compares with the failing
        effect. A finding that is too small to be judged says nothing.
        """
        limits = [
            min(act.lower_limit for act in finding.acts)
            for finding in self.findings
            if finding.acts
            and finding.clusters >= 30
            and all(act.lower_limit is not None for act in finding.acts)
        ]
        return max(limits, default=-1.0)

    @property
    def p(self) -> float:
        """Smallest over findings of the weakest act's adjusted p."""
        values = [f.p_adjusted for f in self.findings if f.p_adjusted is not None]
        return min(values, default=1.0)


def judged(tables: Tables, config: Audit, *, attention: bool = True) -> Result:
    """Evidence, findings and verdict of an audit's tables.

    Without attention its numbers are left out, but not which pictures have the region: that
    decides how many could have been tested.
    """
    shares = tables["attention"][tables["attention"]["explained"] == "true"]
    if not attention:
        shares = shares.assign(share=np.nan, rho=np.nan)
    evidence = build_evidence(tables["samples"], shares, tables["interventions"], config)
    findings = judge_findings(evidence, config)
    required = evidence[evidence["required"] & (evidence["attribute"] == ALL)]
    return Result(decide(findings).verdict, findings, required.reset_index(drop=True))
