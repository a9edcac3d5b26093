"""The gate as a pipeline calls it: judge, leave the files that others read, fail closed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from audit.config_file import load_policy
from audit.errors import ConfigError, CuecheckError, published
from audit.gate import refusal_markdown, refused
from audit.judgement import Judgement, judge_again, today
from audit.outcome import write_outcome, write_refusal
from audit.release import Release
from audit.runs.folder import Run

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STEP_SUMMARY_BYTES = 1_000_000  # GitHub shows nothing of a step that has more


@dataclass(frozen=True)
class Request:
    """How a run is to be judged, and where that is told; as the options of ``cuecheck gate``."""

    run: Path
    policy: Path | None = None
    waivers: Path | None = None
    baseline: Path | None = None
    recompute: bool = False
    release: Release = field(default_factory=Release)
    output: Path | None = None
    step_summary: bool = False

    @property
    def obeys(self) -> bool:
        """Whether the stored verdict is all that is asked for."""
        return self == Request(self.run)


def judge_for_pipeline(request: Request) -> Judgement:
    """Judge a run, and write what was asked for, also where it cannot be judged.

    Raises
    ------
    CuecheckError
        If the run, the policy or the waivers cannot be used; the files say ERROR then.
    """
    summary = _step_summary() if request.step_summary else None
    run = Run(request.run)
    others = [Run(request.baseline)] if request.baseline else []
    try:
        judgement = judge_again(
            run,
            today(),
            rules=load_policy(request.policy) if request.policy else None,
            waivers=request.waivers,
            baseline=others[0] if others else None,
            recompute=request.recompute,
            release=request.release,
        )
    except (CuecheckError, OSError) as error:
        paths = (request.run, request.baseline, request.policy, request.waivers)
        verdict = refused(f"The run cannot be judged: {published(error, *paths)}")
        if summary:
            _append(summary, refusal_markdown(run.folder.resolve().name, verdict))
        if request.output:
            write_refusal(verdict, request.output, run, *others)
        raise
    if summary:
        _append(summary, judgement.summary())
    if request.output:
        write_outcome(judgement, request.output, run, *others)
    return judgement


def _step_summary() -> Path:
    path = os.environ.get(STEP_SUMMARY)
    if not path:
        raise ConfigError(
            f"--step-summary: {STEP_SUMMARY} is not set; GitHub sets it in every step of a job"
        )
    return Path(path)


def _append(path: Path, text: str) -> None:
    """Append to a step's summary, unless that would be too much for GitHub to show any of it."""
    # The report lies beside the summary in a run, not on the page of a job.
    text = "\n" + text.replace("[report.html](report.html)", "`report.html`")
    there = path.stat().st_size if path.exists() else 0
    if there + len(text.encode()) > STEP_SUMMARY_BYTES:
        raise ConfigError(f"{path}: {there:,} bytes already, too many to add a summary to")
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
