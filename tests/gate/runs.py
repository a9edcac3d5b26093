"""Finished runs without a model: tables with reliance planted in them, judged and sealed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from audit import steps
from audit.runs.files import write_json
from audit.runs.folder import Run, config_digest
from audit.runs.record import seal
from audit.tables import DUPLICATES, MAPS, PROPERTIES, SCORECARD, TABLES, empty, write_table
from tests.evidence import planted

CONFIG: dict[str, Any] = {
    "name": "planted",
    "data": {"root": "/data", "train": {"part": "train"}, "attributes": ["gender"]},
    "regions": {
        "source": {"encoding": "codes", "values": {"face": 1, "hair": 2, "tools": 3}},
        "roles": {"core": ["tools"], "forbidden": ["face", "hair"]},
    },
    "interventions": {"swap": {"attribute": "gender", "match": ["label"]}},
    "statistics": {"resamples": 99},
}


def write_run(
    folder: Path,
    *,
    hair: float = 0.05,
    face: float = 0.05,
    n: int = 400,
    seed: int = 1,
    only: tuple[str, ...] = ("face", "hair"),
    spoil: Callable[[dict[str, pd.DataFrame]], None] | None = None,
    **changes: Any,
) -> Run:
    """A sealed run: flips at these rates when hair or face is removed, at 5 % by the placebo."""
    folder.mkdir(parents=True)
    audited = planted.samples(n)
    rates = {"face": face, "hair": hair}
    trials = pd.concat(
        [planted.removal(audited, r, flips=rates[r], seed=seed + i) for i, r in enumerate(only)]
    )
    tables = {
        "samples": audited,
        "attention": planted.attention(audited, ("face", "hair", "tools")),
        "interventions": trials,
    } | {table.name: empty(table) for table in (PROPERTIES, DUPLICATES, MAPS, SCORECARD)}
    if spoil is not None:
        spoil(tables)
    for name, frame in tables.items():
        write_table(frame, TABLES[name], folder / f"{name}.parquet")
    run = Run(folder)
    config = {**CONFIG, **changes}
    run.config_file.write_text(yaml.safe_dump(config), encoding="utf-8")
    write_json(run.identity, {"config_digest": config_digest(run.config()), "started": str(folder)})
    steps.judge(run)
    seal(run)
    return run
