"""An audit without Prefect: the same steps, one after the other."""

from __future__ import annotations

from audit import steps
from audit.events import stage
from audit.runs.folder import Run, working_on
from flows import progress
from flows.limits import within_limits
from flows.logs import logged
from reports.build import build_report


def run_directly(run: Run) -> None:
    """Run every stage that is not done yet.

    Raises
    ------
    RunError
        If another process works on the run, its time is up, or data or model are not those it was
        started with.
    """
    config = run.config()
    with within_limits(config), working_on(run), logged(run, config):
        _run_stages(run)


def _run_stages(run: Run) -> None:
    if run.finished:
        steps.check_finished(run)
        return
    steps.prepare(run, progress.report)
    steps.fit(run, progress.report)
    steps.plan(run)
    done, sizes = 0, steps.shard_sizes(run)
    for index, size in enumerate(sizes):
        progress.report("explain and intervene", done, sum(sizes))
        steps.measure(run, index)
        done += size
        progress.report("explain and intervene", done, sum(sizes))
    conclude(run)


def conclude(run: Run) -> None:
    """What follows when every shard is there: tables, checks, verdict, pictures, report, record."""
    steps.merge(run)
    steps.examine(run, progress.report)
    steps.discover(run, progress.report)
    steps.judge(run)
    steps.illustrate(run)
    steps.trace(run)
    with stage("report"):
        build_report(run.folder)
    steps.seal(run)
