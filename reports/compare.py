"""Two runs compared: one HTML page that says what changed, and shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit.comparison import Changed, Comparison, compare_runs
from audit.evidence.change import AccuracyChange
from audit.runs import folder
from audit.runs.changes import short_hash
from audit.tables import ALL
from reports import words
from reports.build import render_page, write_page
from reports.figures import changes
from reports.output import link, refuse_in_run
from reports.pairs import pairs, trials
from reports.run import Record, Run, read_run

SCRIPTS = ("page.js", "charts.js", "compare.js")
STYLES = ("style.css", "pages.css")
ACCURACY_ROWS = 200
_UNIT = f"{words.THIN}%"

# Kind: title, meaning, tone. The first four are what a reader must know.
KINDS = {
    "new": ("New", "Confirmed now, and not before.", "fail"),
    "worsened": ("Worsened", "The model relies more on the region than before.", "fail"),
    "fixed": ("Fixed", "Confirmed before, and cleared now.", "pass"),
    "improved": ("Improved", "The model relies less on the region than before.", "pass"),
    "unchanged": ("Unchanged", "No change of that size was shown.", "waived"),
    "not comparable": ("Not comparable", "Tested in one run only, not judged, or by other means.",
                       "error"),
}  # fmt: skip


def build_comparison(before: Path, after: Path, output: Path) -> Path:
    """Write the page that compares two finished runs.

    Parameters
    ----------
    before, after
        Run folders.
    output
        File to write, outside the runs.

    Raises
    ------
    RunError
        If a run is unfinished, altered or incomplete, if they cannot be compared, or if the file
        would lie in a run; the message says which.
    """
    refuse_in_run(output)
    compared = compare_runs(folder.Run(before), folder.Run(after))
    write_page(output, render(compared, read_run(before), read_run(after), output.parent))
    return output


def render(compared: Comparison, before: Run, after: Run, where: Path) -> str:
    """The page as HTML; ``where`` is the folder that its links start from."""
    data = compared.data
    shared = pairs(before, after, data.unaltered if data.checked else [])
    order = trials(shared, compared.seed)
    sections = [
        {"id": "answer", "title": "What changed", **answer(compared, before, after, where)},
        {"id": "findings", "title": "Findings", **findings(compared)},
        {"id": "accuracy", "title": "Accuracy", **accuracy(compared)},
        {"id": "trust", "title": "Which model do you trust?", "trials": len(order),
         "pairs": len(shared)},
        {"id": "pictures", "title": "Heat maps side by side", "pairs": len(shared)},
        {"id": "differences", "title": "What differs", **differences(compared)},
    ]  # fmt: skip
    runs = {"before": name_of(before), "after": name_of(after)}
    return render_page(
        "compare",
        sections,
        {"pairs": shared, "trust": {"seed": compared.seed, "trials": order, "runs": runs}},
        SCRIPTS,
        styles=STYLES,
        title=f"{runs['before']} → {runs['after']}",
        name=f"{before.config.name} → {after.config.name}"
        if before.config.name != after.config.name
        else after.config.name,
        tone=compared.verdicts[1].verdict,
        source="the two run folders",
        confidence=_confidence(compared),
        kinds=KINDS,
        before=before,
        after=after,
    )


def name_of(run: Run) -> str:
    """Audit and run folder."""
    return f"{run.config.name} / {run.folder.resolve().name}"


def answer(compared: Comparison, before: Run, after: Run, where: Path) -> dict[str, Any]:
    """The sentence, both verdicts, the numbers, and what to beware of."""
    overall = compared.accuracy[0]
    then, now = compared.verdicts
    return {
        "sentence": sentence(compared),
        "runs": [
            {
                "when": when,
                "verdict": verdict.verdict,
                "sign": words.VERDICTS[verdict.verdict][0],
                "reason": verdict.reason,
                "name": name_of(run),
                "report": link(run.folder / "report.html", where),
            }
            for when, verdict, run in (("before", then, before), ("after", now, after))
        ],
        "accuracy": overall,
        "counts": Counter(claim.kind for claim in compared.claims),
        "findings": len(compared.claims),
        "data": compared.data,
        "warnings": warnings(compared, before, after),
    }


def sentence(compared: Comparison) -> str:
    """What changed, in one sentence."""
    then, now = (verdict.verdict for verdict in compared.verdicts)
    overall = compared.accuracy[0]
    told = f"The verdict stays {now}" if then == now else f"The verdict goes from {then} to {now}"
    rates = [words.percent(row.interval.effect) for row in (overall.before, overall.now)]
    told += f", accuracy from {rates[0]} to {rates[1]}"
    if words.finite(overall.difference.effect):
        difference, interval = points(overall)
        told += f" ({difference} points, {_confidence(compared)} interval {interval})"
    counts = Counter(claim.kind for claim in compared.claims)
    what = [f"{counts[kind] or 'none'} {kind}" for kind in ("fixed", "new", "worsened")]
    what += [f"{counts[kind]} {kind}" for kind in ("improved", "not comparable") if counts[kind]]
    what.append(f"{counts['unchanged'] or 'none'} unchanged")
    total = len(compared.claims)
    return f"{told}; of {total} finding{'s' if total != 1 else ''} {words.joined(what)}."


def _confidence(compared: Comparison) -> str:
    return words.confidence(compared.now.config().statistics.confidence)


def points(change: AccuracyChange) -> tuple[str, str]:
    """A difference of rates in percentage points, and its interval."""
    effect = words.percent(change.difference.effect, signed=True)
    interval = words.interval(change.difference.low, change.difference.high)
    return effect.removesuffix(_UNIT), interval.removesuffix(_UNIT)


def warnings(compared: Comparison, before: Run, after: Run) -> list[str]:
    """What a reader must know before believing the comparison."""
    found = []
    data = compared.data
    if not data.same:
        numbers = [words.number(n) for n in (data.before, data.now, data.both)]
        text = (
            f"The audited data differ: {numbers[0]} samples before, {numbers[1]} after, "
            f"{numbers[2]} in both by name"
        )
        if data.altered:
            text += f", of which {words.number(len(data.altered))} with another label or picture"
        found.append(f"{text}. Part of what changed may be the data, not the model.")
    elif not data.checked:
        found.append(
            "Both runs audited samples of the same names and labels; whether the pictures are the "
            "same could not be told, since a run lacks files.parquet and properties.parquet."
        )
    if before.config.name != after.config.name:
        found.append(
            f"These are runs of two audits, '{before.config.name}' and '{after.config.name}'; "
            "findings are paired by region, class and test."
        )
    if compared.rejudged:
        found.append(
            "The run before was judged by other limits. Here its findings are judged by those of "
            "the run after, so they may differ from its own report; its verdict is as it was."
        )
    return found


def findings(compared: Comparison) -> dict[str, Any]:
    """Claims grouped by what became of them, and the forest plot."""
    groups: list[dict[str, Any]] = [
        {"kind": kind, "title": title, "meaning": meaning, "tone": tone, "found": found}
        for kind, (title, meaning, tone) in KINDS.items()
        if (found := [claim for claim in compared.claims if claim.kind == kind])
    ]
    claims = [claim for group in groups for claim in group["found"]]
    chart = changes.of_claims(claims, _confidence(compared))
    allowed = compared.now.config().policy.worsened_effect
    return {"groups": groups, "charts": [chart] if chart else [], "allowed": words.percent(allowed)}


def accuracy(compared: Comparison) -> dict[str, Any]:
    """Accuracy by cell: whole classes first, then subgroups, the largest loss first."""
    known = [one for one in compared.accuracy if words.finite(one.difference.effect)]
    whole = [one for one in known if one.now.attribute == ALL]
    parts = [one for one in known if one.now.attribute != ALL]
    rows = whole + sorted(parts, key=lambda one: one.difference.effect)
    chart = changes.of_accuracy(known, _confidence(compared))
    return {
        "rows": rows[:ACCURACY_ROWS],
        "more": len(rows[ACCURACY_ROWS:]),
        "small": compared.now.config().policy.min_clusters,
        "charts": [chart] if chart else [],
        "points": points,
    }


def differences(compared: Comparison) -> dict[str, Any]:
    """Settings and provenance with other values."""
    return {
        "tables": [
            ("Settings", "Every key of the configuration whose value differs.",
             _told(compared.settings)),
            ("Provenance", "Versions, device, and SHA-256 of model, data and code (cut short).",
             _told(compared.provenance)),
        ],
        "data": compared.data,
    }  # fmt: skip


def _told(changed: Sequence[Changed]) -> list[Record]:
    return [
        {"key": key, "before": _text(before), "after": _text(after)}
        for key, before, after in changed
    ]


def _text(value: Any) -> str:
    return "–" if value is None else short_hash(value)
