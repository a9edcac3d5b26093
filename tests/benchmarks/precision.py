"""Whole audits in float32 and in bfloat16: region shares, effects and verdicts side by side.

``python -m tests.benchmarks.precision CONFIG [CONFIG ...]`` with ``CUECHECK_DATA`` set.

Both audit the same weights: the model is trained once, in float32, whatever the precision.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from audit.config_file import load_config
from audit.runs.files import read_json
from audit.runs.folder import Run, start_or_resume
from audit.tables import ATTENTION, EVIDENCE, read_table
from flows.direct import run_directly


def audited(file: Path, precision: str, folder: Path) -> Run:
    """A finished run of a configuration."""
    run = start_or_resume(load_config(file, {"execution.precision": precision}), folder)
    run_directly(run)
    return run


def compared(exact: Run, reduced: Run) -> list[str]:
    """A row of the table: what both say of the same samples."""
    weights = {read_json(run.provenance, "sha256")["sha256"]["weights"] for run in (exact, reduced)}
    assert len(weights) == 1, "the two trainings differ"
    verdicts = [read_json(run.verdict, "verdict")["verdict"] for run in (exact, reduced)]
    key = ["sample_id", "region"]
    shares = [_shares(run).set_index(key)["share"] for run in (exact, reduced)]
    apart = (shares[0] - shares[1]).abs().dropna()
    effects = [_required_effects(run) for run in (exact, reduced)]
    moved = (effects[0] - effects[1]).abs().max()
    return [" / ".join(verdicts), f"{apart.mean():.5f}", f"{apart.max():.3f}", f"{moved:.4f}"]


def _shares(run: Run) -> pd.DataFrame:
    columns = ["sample_id", "region", "share"]
    return read_table(
        run.table("attention"), ATTENTION, columns, {"method": "grad-cam", "explained": "true"}
    )


def _required_effects(run: Run) -> pd.Series[float]:
    """Effects that the verdict rests on, by what they are of."""
    evidence = read_table(run.table("evidence"), EVIDENCE)
    key = ["measure", "region", "target_class", "attribute", "subgroup", "act"]
    return evidence[evidence["required"]].set_index(key)["effect"]


def main() -> None:
    """Audit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", type=Path)
    table = Table(title="bfloat16 against float32", title_justify="left")
    for column in (
        "audit",
        "verdicts",
        "share: mean difference",
        "largest",
        "required effects: largest difference",
    ):
        table.add_column(column)
    for config in parser.parse_args().configs:
        with tempfile.TemporaryDirectory() as folder:
            exact, reduced = (audited(config, p, Path(folder) / p) for p in ("float32", "bfloat16"))
            table.add_row(config.stem, *compared(exact, reduced))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
