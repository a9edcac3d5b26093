"""The index: one HTML page over all runs below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from audit.errors import RunError
from audit.listing import Listed, find_runs, read_listed
from audit.runs.folder import Run
from reports import words
from reports.build import render_page, write_page
from reports.figures import trend
from reports.output import link, refuse_in_run
from reports.run import Record

SCRIPTS = ("page.js", "charts.js")
STYLES = ("style.css", "pages.css")
LEAST_CONFIDENCE = 0.95  # that a configuration may ask for
NAMED = 3  # confirmed cues named in a row

# What was hashed, in plain words; the other hashes follow from these.
_HASHED = {"data": "data", "weights": "model", "code": "cuecheck's code", "config": "settings"}


def build_index(folder: Path, output: Path) -> Path:
    """Write the page over all runs below a folder; broken and unfinished ones are listed with why.

    Parameters
    ----------
    folder
        Folder with runs at any depth.
    output
        File to write, outside the runs.

    Raises
    ------
    RunError
        If there is no such folder, no run in it, or the file would lie in a run.
    """
    refuse_in_run(output)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder")
    listed, broken = _read(folder)
    if not (listed or broken):
        raise RunError(f"{folder}: no run in it; name the folder that runs are written to")
    write_page(output, render(folder, listed, broken, output.parent))
    return output


def _read(folder: Path) -> tuple[list[Listed], list[tuple[Run, str]]]:
    """Runs that can be read, and the others with why not."""
    listed: list[Listed] = []
    broken: list[tuple[Run, str]] = []
    for run in find_runs(folder):
        try:
            listed.append(read_listed(run))
        except RunError as error:
            broken.append((run, str(error)))
    return listed, broken


def render(
    folder: Path, listed: Sequence[Listed], broken: Sequence[tuple[Run, str]], where: Path
) -> str:
    """The page as HTML; ``where`` is the folder that its links start from."""
    names = sorted({one.audit for one in listed})
    audits = [
        _audit(number, name, [one for one in listed if one.audit == name], where)
        for number, name in enumerate(names)
    ]
    name = folder.resolve().name
    sections: list[dict[str, Any]] = [
        {"id": "answer", "title": "Overview", "sentence": _sentence(audits, len(broken)),
         "audits": audits, "runs": len(listed)},
        {"id": "audits", "title": "Audits", "audits": audits,
         "charts": [audit["chart"] for audit in audits if audit["chart"]]},
        {"id": "broken", "title": "Not listed",
         "rows": [{"folder": os.path.relpath(run.folder, folder), "why": why}
                  for run, why in broken]},
    ]  # fmt: skip
    return render_page(
        "index",
        sections,
        {},
        SCRIPTS,
        styles=STYLES,
        title=f"Runs in {name}",
        name=name,
        tone="",
        source="the run folders",
        confidence=f"{words.confidence(LEAST_CONFIDENCE)} or more",
    )


def _sentence(audits: Sequence[Record], broken: int) -> str:
    counts = Counter(audit["rows"][0]["verdict"] for audit in audits)
    told = ", ".join(f"{counts[name]} {name}" for name in words.VERDICTS if counts[name])
    total = len(audits)
    text = f"Newest run of {total} audit{'s' if total != 1 else ''}: {told}." if audits else ""
    if broken:
        text += f" {broken} folder{'s' if broken != 1 else ''} could not be listed."
    return text.strip()


def _audit(number: int, name: str, runs: Sequence[Listed], where: Path) -> Record:
    """One audit: its runs, newest first, and their trend."""
    ordered = sorted(runs, key=lambda one: (one.started, one.run.folder.name), reverse=True)
    changed = [_changed(new, old) for new, old in pairwise(ordered)]
    return {
        "id": f"audit-{number}",
        "name": name,
        "rows": [
            _row(one, since, where) for one, since in zip(ordered, [*changed, None], strict=True)
        ],
        "chart": trend.of_runs(number, ordered),
    }


def _row(one: Listed, changed: list[str] | None, where: Path) -> Record:
    verdict = one.verdict
    confirmed = [
        (finding["region"], words.class_name(finding["target_class"]))
        for finding in one.findings
        if finding["status"] == "CONFIRMED"
    ]
    return {
        "run": one.run.folder.resolve().name,
        "started": f"{one.started:%Y-%m-%d %H:%M}",
        "verdict": verdict.verdict,
        "sign": words.VERDICTS[verdict.verdict][0],
        "reason": verdict.reason,
        "accuracy": one.accuracy,
        "confirmed": confirmed[:NAMED],
        "confirmed_count": len(confirmed),
        "undecided": verdict.counts.get("INCONCLUSIVE", 0),
        "quarantined": one.quarantined,
        "report": link(one.run.report, where),
        "changed": changed,
    }


def _changed(new: Listed, old: Listed) -> list[str]:
    """What is not as in the run before, by its hash."""
    return [
        word
        for key, word in _HASHED.items()
        if key in new.hashes and key in old.hashes and new.hashes[key] != old.hashes[key]
    ]
