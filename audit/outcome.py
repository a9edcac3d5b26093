"""What was decided, as the files that pipelines read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from audit.config_file import dump_config
from audit.errors import RunError
from audit.gate import Verdict, junit_xml, refusal_markdown, sarif_json
from audit.judgement import Judgement
from audit.runs.files import write_json, write_text
from audit.runs.folder import Run


def write_outcome(judgement: Judgement, folder: Path, *runs: Run) -> None:
    """Write a judgement and the configuration it follows to a folder outside the runs.

    Raises
    ------
    RunError
        If the folder is a file, a run or lies in one: a sealed run is not altered.
    """
    _make_outside(folder, runs)
    judgement.write(folder)
    # The report lies in the run.
    summary = judgement.summary().replace("[report.html](report.html)", "`report.html`")
    write_text(folder / "summary.md", summary)
    write_text(folder / "config.yaml", dump_config(judgement.config))


def write_refusal(verdict: Verdict, folder: Path, run: Run, *others: Run) -> None:
    """Write that a run could not be judged; what the folder told of an earlier one is removed.

    Raises
    ------
    RunError
        As :func:`write_outcome`.
    """
    _make_outside(folder, (run, *others))
    for earlier in ("evidence.parquet", "association.parquet", "cells.parquet", "config.yaml"):
        (folder / earlier).unlink(missing_ok=True)
    name = run.folder.resolve().name
    write_json(folder / "findings.json", {"findings": []})
    write_text(folder / "verdict.json", verdict.to_json())
    write_text(folder / "summary.md", refusal_markdown(name, verdict))
    write_text(folder / "junit.xml", junit_xml(name, [], verdict, datetime.now(UTC)))
    write_text(folder / "findings.sarif", sarif_json(name, [], verdict))


def _make_outside(folder: Path, runs: Sequence[Run]) -> None:
    for run in runs:
        if folder.resolve().is_relative_to(run.folder.resolve()):
            raise RunError(f"{folder}: lies in the run {run.folder}, which stays as it is")
    if Run(folder).record.exists() or Run(folder).identity.exists():
        raise RunError(f"{folder}: a run, which stays as it is; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; name a folder to write the judgement to")
    folder.mkdir(parents=True, exist_ok=True)
