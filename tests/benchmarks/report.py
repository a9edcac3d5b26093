"""What a report weighs, how long it takes to build, and when it answers in the browser.

``python -m tests.benchmarks.report [--samples 10000] [--classes 40] [--run FOLDER]``

Two runs: one as small as the demo, and one of 10,000 samples with 40 classes, 3 attributes and 4
regions. Prints MB of the file (of it Plotly, the gallery and the data of charts), seconds to build,
seconds from navigation until charts in view are drawn, and until all are (the others are drawn
while the page is idle), and the longest piece of the latter, during which the page does not answer.
In headless Chromium.
The pictures of both are few and tiny; ``--run`` measures a finished run, pictures and all.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from audit import tables
from audit.config import Audit
from audit.evidence import build_evidence
from audit.gate import judge_findings
from reports.build import build_report
from tests.benchmarks import rejudge
from tests.reports.browser import Page, chromium
from tests.reports.factory import make_run, write_json

LEVELS = {"group": 5, "site": 4, "tone": 2}
RESAMPLES = 200  # the report does not get larger or slower with more
INTERACTIVE = "performance.getEntriesByName('report:interactive')[0].startTime"
ALL_DRAWN = "performance.getEntriesByName('report:interactive').at(-1).startTime"
LONGEST = f"""new Promise((resolve) => new PerformanceObserver((list) => {{
  const later = list.getEntries().filter((task) => task.startTime >= {INTERACTIVE});
  resolve(Math.max(0, ...later.map((task) => task.duration)));
}}).observe({{ type: "longtask", buffered: true }}))"""
READY = "document.documentElement?.dataset.charts === 'ready'"


def large_run(folder: Path, n: int, n_classes: int) -> Path:
    """A run folder of the re-judging benchmark's tables."""
    classes = [f"class {i:03d}" for i in range(n_classes)]
    make_run(folder, labels=tuple(classes), samples=400, pictures=60)
    (folder / "cues.parquet").unlink()  # its cues overlap regions that this run does not have
    plain = rejudge.config_of(classes, RESAMPLES, RESAMPLES).model_dump(
        mode="json", exclude_unset=True
    )
    plain["data"]["attributes"] = list(LEVELS)
    config = Audit.model_validate(plain)
    text = yaml.safe_dump(plain)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    samples, attention, interventions, _ = rejudge.tables(n, classes, LEVELS["group"])
    rng = np.random.default_rng(1)
    for name, count in LEVELS.items():
        levels = np.array([f"{name} {i}" for i in range(count)], dtype=object)
        samples[tables.attribute_column(name)] = levels[rng.integers(0, count, n)]
    evidence = build_evidence(samples, attention, interventions, config)
    findings = judge_findings(evidence, config)
    write_json(folder / "findings.json", {"findings": [asdict(one) for one in findings]})
    samples = samples.assign(path=samples["sample_id"], reason="")
    train = samples.assign(sample_id="t" + samples["sample_id"], part="train")
    target = attention["sample_id"].map(samples.set_index("sample_id")["label"])
    unused = dict.fromkeys(("area", "margin_before", "true_margin_before"), 0.0)
    for table, rows in (
        (tables.EVIDENCE, evidence),
        (tables.SAMPLES, pd.concat([samples, train])),
        (tables.ATTENTION, attention.assign(target_class=target, pointing=0.0, dead=False)),
        (tables.INTERVENTIONS, interventions.assign(**unused)),
    ):
        tables.write_table(rows, table, folder / f"{table.name}.parquet")
    return folder


def measure(page: Page, name: str, run: Path) -> None:
    """Build a report, open it, and print what that took."""
    begun = time.perf_counter()
    report = build_report(run)
    built = time.perf_counter() - begun
    page.resize(1440)
    page.open(report, ready=READY)
    scripts = (INTERACTIVE, ALL_DRAWN, LONGEST)
    interactive, ready, longest = (page.evaluate(script) / 1000 for script in scripts)
    print(
        f"{name}: {report.stat().st_size / 1e6:.2f} MB ({_parts(report)}), built in {built:.1f} s, "
        f"in view drawn after {interactive:.2f} s, all charts after {ready:.2f} s, "
        f"in pieces of up to {longest:.2f} s",
        flush=True,
    )


def _parts(report: Path) -> str:
    text = report.read_text(encoding="utf-8")
    scripts = {
        found["id"]: found["content"]
        for found in re.finditer(
            r'<script [^>]*id="(?P<id>[^"]+)">(?P<content>.*?)</script>', text, re.S
        )
    }
    data = json.loads(scripts["report-data"])
    sizes = {"Plotly": len(scripts["report-plotly"])}
    sizes |= {
        key: len(json.dumps(data[key], ensure_ascii=False))
        for key in ("gallery", "charts", "tables")
    }
    return ", ".join(f"{key} {size / 1e6:.2f}" for key, size in sizes.items())


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--run", type=Path, help="a run folder to measure instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, chromium(Path(made) / "profile") as page:
        if options.run:
            copied = shutil.copytree(options.run, Path(made) / "run")
            measure(page, options.run.name, copied)
            return
        measure(page, "small", make_run(Path(made) / "small"))
        large = large_run(Path(made) / "large", options.samples, options.classes)
        measure(page, f"{options.samples:,} samples", large)


if __name__ == "__main__":
    main()
