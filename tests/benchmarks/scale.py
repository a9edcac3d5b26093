"""What an audit costs per stage and sample, and what that makes of 10 million samples.

``python -m tests.benchmarks.scale [--samples 1000 5000 20000] [--workers 1 8 64] [--unit cpu]``

The same few tiny pictures in many rows, a loaded model, everything else as nobody configured it;
each size in a process of its own, without Prefect. Prints seconds, processor seconds and peak
memory per stage, bytes of the run folder per sample, the fitted lines, how far the largest size is
from what the smaller ones predict, and the projection. For the projection merging and judging are
measured again on up to a million samples whose shards are written without a model. ``--unit cpu``
fits processor seconds, for a machine on which others work; with one thread they are the seconds of
a machine on which nobody does. Exits 1 where
the shards, which are most of the work, are off by more than a quarter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit import shard, steps
from audit.config_file import load_config
from audit.interventions.draw import clusters_per_cell
from audit.runs.folder import Run, start_or_resume
from audit.tables import SAMPLES, read_table
from flows import direct
from tests.benchmarks.cost_model import EXPLAIN, INTERVENE, LOAD, Line, Model, fit, project
from tests.benchmarks.large_run import write_run
from tests.benchmarks.memory import prepare

PROJECTED = 10_000_000
CELLS = 4  # of two classes and two backgrounds
MOST_OFF = 0.25
DRIVER = (
    *("prepare", "plan", "merge", "examine", "discover", "judge"),
    *("illustrate", "trace", "report", "seal"),
)

#: Stages that look at no more samples than ``checks.samples``, ``discovery.samples`` and so on say.
BOUNDED = ("plan", "examine", "discover", "trace")
CONCLUDED = ("merge", "judge")

Cost = dict[str, float]
Measured = dict[str, Any]


class Clock:
    """Seconds and processor seconds by name; what is timed inside something else is taken off."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}
        self._inside: list[Cost] = []

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that adds what it takes to a name."""

        def run(*arguments: Any, **options: Any) -> Any:
            reset_peak()
            self._inside.append({"seconds": 0.0, "cpu": 0.0})
            begun = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                took = {
                    "seconds": time.perf_counter() - begun[0],
                    "cpu": time.process_time() - begun[1],
                }
                inside = self._inside.pop()
                cost = self.costs.setdefault(name, {"seconds": 0.0, "cpu": 0.0, "peak": 0.0})
                cost["peak"] = max(cost["peak"], peak_mib())
                for unit, value in took.items():
                    cost[unit] += value - inside[unit]
                    if self._inside:
                        self._inside[-1][unit] += value

        return run


def reset_peak() -> None:
    """Forget the peak of this process's memory so far (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Peak memory of this process since it was last forgotten, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def audit(config_file: Path, out: Path) -> Measured:
    """Run an audit in this process, every stage timed."""
    clock = Clock()
    for name in DRIVER:
        if name != "report":
            setattr(steps, name, clock.timed(name, getattr(steps, name)))
    direct.build_report = clock.timed("report", direct.build_report)
    steps.measure = clock.timed(EXPLAIN, steps.measure)
    shard.intervene = clock.timed(INTERVENE, shard.intervene)
    steps.load_context = clock.timed(LOAD, steps.load_context)
    run = start_or_resume(load_config(config_file), out)
    direct.run_directly(run)
    # Once to plan, once to measure; here the conclusion shares the latter.
    clock.costs[LOAD] = clock.costs[LOAD] | {
        unit: clock.costs[LOAD][unit] / 2 for unit in ("seconds", "cpu")
    }
    samples = read_table(run.table("samples"), SAMPLES, ["stands_for"])
    return {
        "samples": len(samples),
        "altered": int((samples["stands_for"] > 0).sum()),
        "bytes": {
            "tables": sum(path.stat().st_size for path in run.folder.glob("*.parquet")),
            "shards": sum(path.stat().st_size for path in run.shards.rglob("*.parquet")),
            "all": sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file()),
        },
        "costs": clock.costs,
    }


def measured(count: int) -> Measured:
    """An audit of so many samples in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(folder, count)
        text = config.read_text().replace("statistics: {resamples: 199}\n", "")
        config.write_text(text)
        result = folder / "result.json"
        command = [sys.executable, "-m", "tests.benchmarks.scale", "--audit", str(config)]
        subprocess.run([*command, str(folder / "run"), str(result)], check=True)
        found: Measured = json.loads(result.read_text())
        return found


def concluded(folder: Path) -> dict[str, Cost]:
    """Merge and judge a large run in this process, timed."""
    clock, run = Clock(), Run(folder)
    for name in CONCLUDED:
        clock.timed(name, getattr(steps, name))(run)
    return clock.costs


def concluded_at(count: int) -> dict[str, Cost]:
    """Merging and judging so many samples whose shards were written without a model."""
    with tempfile.TemporaryDirectory() as name:
        run = write_run(Path(name) / "run", count)
        result = Path(name) / "result.json"
        command = [sys.executable, "-m", "tests.benchmarks.scale", "--conclude"]
        subprocess.run([*command, str(run.folder), str(result)], check=True)
        found: dict[str, Cost] = json.loads(result.read_text())
        return found


def line_of(name: str, audits: Sequence[Measured], unit: str) -> Line:
    """Cost of a stage by its count."""
    count = "altered" if name == INTERVENE else "samples"
    return fit([one[count] for one in audits], [one["costs"][name][unit] for one in audits])


def model_of(audits: Sequence[Measured], most_altered: float, unit: str = "seconds") -> Model:
    """The lines of all stages."""
    lines = {name: line_of(name, audits, unit) for name in audits[0]["costs"]}
    return Model(lines, most_altered)


def predicted(model: Model, audit: Measured) -> dict[str, float]:
    """What a model says of the stages of an audit."""
    return {
        name: line.at(audit["altered" if name == INTERVENE else "samples"])
        for name, line in model.stages.items()
    }


def bounded(audits: Sequence[Measured], unit: str = "seconds") -> dict[str, Line]:
    """Stages that look at so many samples and no more: as long as in the largest audit."""
    return {name: Line(audits[-1]["costs"][name][unit], 0.0) for name in BOUNDED}


def large_lines(sizes: Sequence[int], unit: str) -> dict[str, Line]:
    """Merging and judging, which are not in proportion below some 100,000 samples; printed."""
    costs = [concluded_at(count) for count in sizes]
    lines = {}
    for name in CONCLUDED:
        of = [one[name] for one in costs]
        line = lines[name] = fit(sizes, [one[unit] for one in of])
        cells = ", ".join(
            f"{n:,}: {one['seconds']:.1f} s (cpu {one['cpu']:.1f}), peak {one['peak']:.0f} MiB"
            for n, one in zip(sizes, of, strict=True)
        )
        fitted = f"{line.fixed:.1f} s and {1e6 * line.each:.1f} us each, error {line.error:.1%}"
        print(f"{name} of shards written without a model: {cells}; {fitted}", flush=True)
    return lines


def show(audits: Sequence[Measured], model: Model, check: dict[str, float], unit: str) -> None:
    """Print what was measured, the fit, and the check of the fit."""
    sizes = "".join(f"{one['samples']:>11,}" for one in audits)
    print(f"\n{'seconds (cpu)':22}{sizes}   fixed s  us each  error  predicted")
    for name, line in model.stages.items():
        costs = [one["costs"][name] for one in audits]
        cells = "".join(f"{c['seconds']:6.1f}({c['cpu']:3.0f})" for c in costs)
        off = check[name] / costs[-1][unit] - 1
        fitted = f"{line.fixed:8.2f} {1e6 * line.each:8.1f} {line.error:6.1%}"
        print(f"{name:22}{cells}  {fitted} {off:+9.0%}")
    print("\npeak MiB")
    for name in model.stages:
        peaks = "".join(f"{one['costs'][name]['peak']:>11.0f}" for one in audits)
        print(f"{name:22}{peaks}")
    for kind in audits[0]["bytes"]:
        line = fit([one["samples"] for one in audits], [one["bytes"][kind] for one in audits])
        print(f"bytes on disk, {kind}: {line.each:.0f} per sample and {line.fixed / 1e6:.2f} MB")
    for one in audits:
        seconds = sum(one["costs"][name][unit] for name in (EXPLAIN, INTERVENE))
        print(
            f"{one['samples']:,} samples, {one['altered']:,} altered: "
            f"{one['samples'] / seconds:.0f} samples/s on one device (cpu)"
        )


def main() -> None:
    """Measure, fit, check, project."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument(
        "--unit", choices=("seconds", "cpu"), default="seconds", help="what is fitted"
    )
    parser.add_argument("--concluded", type=int, nargs="+", default=[62_500, 250_000, 1_000_000])
    parser.add_argument("--conclude", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--audit", type=Path, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.audit:
        config, out, result = options.audit
        result.write_text(json.dumps(audit(config, out)))
        return
    if options.conclude:
        folder, result = options.conclude
        result.write_text(json.dumps(concluded(folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        per_cell = clusters_per_cell(load_config(prepare(Path(folder), 1_000)))
    assert per_cell is not None
    audits = [measured(count) for count in sorted(options.samples)]
    unit, most_altered = options.unit, CELLS * per_cell
    model = model_of(audits, most_altered, unit)
    check = predicted(model_of(audits[:-1], most_altered, unit), audits[-1])
    show(audits, model, check, unit)
    model = replace(model, stages={**model.stages, **bounded(audits, unit)})
    model = replace(model, stages={**model.stages, **large_lines(options.concluded, unit)})
    print(f"\n{PROJECTED:,} samples")
    for workers in options.workers:
        found = project(model, PROJECTED, workers)
        driver = ", ".join(f"{name} {s / 3600:.2f}" for name, s in found.driver.items() if s > 60)
        print(
            f"{workers:>3} workers: {found.total / 3600:6.2f} h, of it shards "
            f"{found.shards / 3600:.2f}, loading {found.loading / 3600:.2f}, driver: {driver}; "
            f"serial {found.serial:.0%}, longest: {found.dominant}"
        )
    last = audits[-1]["costs"]
    shards = sum(last[name][unit] for name in (EXPLAIN, INTERVENE))
    off = (check[EXPLAIN] + check[INTERVENE]) / shards - 1
    print(f"\nshards of the largest, predicted from the others: {off:+.0%} (limit {MOST_OFF:.0%})")
    if abs(off) > MOST_OFF:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
