"""What Prefect's pages show of an audit: progress, verdict, findings, link to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from httpx import TransportError
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException
from prefect.runtime import deployment

from audit.config import Audit
from audit.gate import Verdict
from audit.gate.findings import reading
from audit.gate.outputs import SEVERITY, markdown_text
from audit.gate.reasons import percent
from audit.runs.files import read_json
from audit.runs.folder import Run

ROWS = 200  # findings in the table
EVERY = 2.0  # seconds between two updates of the bar


@contextmanager
def progress_artifact(total: int) -> Iterator[Callable[[int], None]]:
    """Something to call with the number of samples done, which a scheduled run shows as a bar."""
    if not deployment.id:  # who started it by hand sees the bar on the terminal
        yield lambda done: None
        return
    create: Any = create_progress_artifact  # typed as coroutines, which they are in a loop alone
    update: Any = update_progress_artifact
    bar, told_at = None, 0.0

    def tell(done: int) -> None:
        nonlocal bar, told_at
        if done < total and time.monotonic() < told_at + EVERY:
            return
        told_at = time.monotonic()
        now = 100.0 * done / max(total, 1)
        with suppress(PrefectException, TransportError):  # no bar is worth a run
            if bar is None:
                bar = create(now, key="cuecheck-progress", description="samples explained, in %")
            else:
                update(artifact_id=bar, progress=now)

    yield tell
    tell(total)  # not reached where shards were lost


def publish(config: Audit, verdict: Verdict, run: Run) -> None:
    """Write the artifacts of a finished run.

    Prefect renders descriptions, link texts and the cells of tables as Markdown, so every name is
    escaped.
    """
    name = markdown_text(config.name)
    summary = (run.folder / "summary.md").read_text(encoding="utf-8")
    findings = sorted(
        read_json(run.folder / "findings.json", "findings")["findings"],
        key=lambda finding: SEVERITY.index(finding["status"]),
    )
    create_markdown_artifact(
        summary.replace("](report.html)", f"]({run.report.resolve().as_uri()})"),
        key="cuecheck-verdict",
        description=f"{name}: {verdict.verdict}",
    )
    limits = f"{100 * config.statistics.confidence:.4g} % interval"
    left_out = max(0, len(findings) - ROWS)
    create_table_artifact(
        [_row(finding, limits) for finding in findings[:ROWS]],
        key="cuecheck-findings",
        description=f"{name}: findings"
        + (f"; {left_out:,} more in the report" if left_out else ""),
    )
    create_link_artifact(
        run.report.resolve().as_uri(),
        link_text=f"Report of {name}",
        key="cuecheck-report",
        description=markdown_text(str(run.report), 1000),
    )


def _row(finding: Mapping[str, Any], limits: str) -> dict[str, str | int]:
    low, high = finding["low"], finding["high"]
    attention = finding.get("attention", "unmeasurable")  # runs of before it was screened lack it
    return {
        "status": finding["status"],
        "region": markdown_text(finding["region"]),
        "class": "all"
        if finding["target_class"] == "*"
        else markdown_text(finding["target_class"]),
        "effect": percent(finding["effect"]),
        limits: "unknown" if low is None else f"{percent(low)} to {percent(high)}",
        "independent samples": finding["clusters"],
        "attention": reading(finding["status"], attention) or attention,
        "why": markdown_text(finding["reason"], 300),
    }
