"""The sections of the page: each is one function here and one template of the same name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audit.evidence import alignment, disparity
from audit.runs.changes import short_hash
from audit.tables import ALL
from reports import discovery, explainer, words
from reports.answer import told
from reports.blind import blind
from reports.data_bias import data_bias
from reports.figures import (
    accuracy,
    association,
    attention,
    composition,
    distributions,
    effects,
    style,
    training,
)
from reports.mean_maps import mean_maps
from reports.outcomes import outcome, tally
from reports.run import Record, Run

CARD_PICTURES = 6
QUARANTINE_ROWS = 200
HARM_ROWS = 200
SCREENED_ROWS = 100


@dataclass(frozen=True)
class Section:
    """A section: its context for the template, or None where the run has nothing for it."""

    id: str
    title: str
    context: Callable[[Run], dict[str, Any] | None]


def answer(run: Run) -> dict[str, Any]:
    """The verdict, the flagged cues, the counts."""
    verdict = str(run.verdict["verdict"])
    sign, meaning = words.VERDICTS.get(verdict, ("?", "An unknown verdict."))
    cards: dict[tuple[str, str], list[Record]] = {}
    for finding in _with_status(run, "CONFIRMED"):
        cards.setdefault((str(finding["region"]), str(finding.get("test"))), []).append(finding)
    return {
        "verdict": verdict,
        "sign": sign,
        "meaning": meaning,
        "reason": run.verdict.get("reason") or meaning,
        "warnings": run.verdict.get("warnings") or [],
        "cards": [_card(run, region, test, found) for (region, test), found in cards.items()],
        "typical": _typical(run) if not cards else [],
        "undecided": _with_status(run, "INCONCLUSIVE"),
        "failed": _with_status(run, "ERROR"),
        "tally": tally(run.findings),
        "accuracy": _overall_accuracy(run),
        "audited": len(run.audited),
        "clusters": run.audited["cluster_id"].nunique(),
        "quarantined": len(run.quarantined),
        "audited_what": _audited_what(run),
        "samples": len(run.samples),
        "classes": run.classes,
        "worst": _worst_cell(run),
        "interventions": len(run.interventions),
    }


def _with_status(run: Run, status: str) -> list[Record]:
    return [finding for finding in _by_effect(run) if finding.get("status") == status]


def _by_effect(run: Run) -> list[Record]:
    """Findings, the largest effect first."""
    return sorted(run.findings, key=lambda finding: -(finding.get("effect") or 0))


def _card(run: Run, region: str, test: str, found: list[Record]) -> dict[str, Any]:
    classes = {str(finding["target_class"]) for finding in found}
    return {
        "region": region,
        "test": test,
        "classes": [words.class_name(str(finding["target_class"])) for finding in found],
        "rows": [finding | {"bar": bar(run, finding)} for finding in found],
        "hidden": all(outcome(finding) == "HIDDEN" for finding in found),
        "remedies": list(dict.fromkeys(f["remedy"]["sentence"] for f in found if f.get("remedy"))),
        **told(run, found[0]),
        "strip": _showing(run, region, classes),
    }


def _typical(run: Run) -> list[int]:
    """Pictures for a page without cards: the first ones chosen as typical."""
    chosen = [index for index, one in enumerate(run.pictures) if one.get("chosen_for") == "typical"]
    return chosen[:CARD_PICTURES]


def _showing(run: Run, region: str, classes: set[str]) -> list[int]:
    """Pictures for a card, by rule: predicted as the class, typical ones first, then by share."""
    ranked = [
        (picture.get("chosen_for") != "typical", -(picture["shares"][region] or 0), index)
        for index, picture in enumerate(run.pictures)
        if region in (picture.get("shares") or {})
        and (ALL in classes or picture.get("prediction") in classes)
    ]
    return [index for _, _, index in sorted(ranked)[:CARD_PICTURES]]


def _audited_what(run: Run) -> list[str]:
    """Which run this is, of which weights, and when it ended: as far as the run tells."""
    hashes = run.provenance.get("sha256")
    weights = hashes.get("weights") if isinstance(hashes, dict) else None
    finished = str(run.provenance.get("finished") or "")[:10]
    facts = (
        f"run {run.folder.resolve().name}",
        run.config.model.architecture,
        f"weights {short_hash(weights)}" if weights else "",
        f"finished {finished}" if finished else "",
    )
    return [words.short(fact, 60) for fact in facts if fact]


def _overall_accuracy(run: Run) -> Record | None:
    rows = run.evidence
    whole = (rows[["target_class", "attribute", "subgroup"]] == ALL).all(axis=1)
    found = rows[whole & (rows["measure"] == "accuracy") & rows["effect"].notna()]
    return dict(found.iloc[0]) if len(found) else None


def _worst_cell(run: Run) -> Record | None:
    """The cell with the lowest accuracy among those large enough to say so."""
    tables = [run.cells("accuracy", attribute) for attribute in run.attributes]
    rows = [dict(row) for table in tables for _, row in table[~run.is_small(table)].iterrows()]
    return min(rows, key=lambda row: float(row["effect"]), default=None)


def findings(run: Run) -> dict[str, Any]:
    """Findings grouped by status, as a test run would list them."""
    groups = []
    for status, (title, meaning) in words.STATUSES.items():
        found = [
            finding | {"bar": bar(run, finding)}
            for finding in _by_effect(run)
            if outcome(finding) == status
        ]
        if found:
            groups.append({"status": status, "title": title, "meaning": meaning, "found": found})
    return {"groups": groups}


def bar(run: Run, finding: Record) -> dict[str, Any]:
    """Positions, in per cent of the width, of an effect, its interval and the two limits."""
    fail, passed = effects.limits(run, str(finding.get("test")))
    known = [
        float(other[key])
        for other in run.findings
        for key in ("low", "high", "effect")
        if words.finite(other.get(key))
    ]
    start, end = min([-0.05, *known]), max([0.3, *known])

    def position(value: float | None) -> float | None:
        return 100 * (value - start) / (end - start) if words.finite(value) else None

    return {
        "zero": position(0.0),
        "fail": position(fail),
        "pass": position(passed),
        "fail_limit": fail,
        "pass_limit": passed,
        **{key: position(finding.get(key)) for key in ("effect", "low", "high")},
    }


def harm(run: Run) -> dict[str, Any] | None:
    """The worst group, aligned against conflicting pictures, calibration, the right answer."""
    worst = _measured(run, "worst_group")
    gaps = _measured(run, "aligned_gap")
    confidence = run.evidence["measure"].isin(["brier", "calibration_gap", "ece"])
    groups = run.evidence[confidence].groupby(["attribute", "subgroup"], sort=False)
    calibration = [{row["measure"]: row for row in rows.to_dict("records")} for _, rows in groups]
    true_class = [
        row
        for row in _measured(run, "true_margin_effect")
        if row["attribute"] != ALL and row["clusters"] >= run.config.policy.min_clusters
    ]
    if not (worst or gaps or calibration or true_class):
        return None
    return {
        "worst": worst[0] if worst else None,
        "gaps": gaps,
        "calibration": [row for row in calibration if "calibration_gap" in row],
        "true_class": true_class[:HARM_ROWS],
        "more": max(0, len(true_class) - HARM_ROWS),
    }


def _measured(run: Run, measure: str) -> list[Record]:
    """Rows of a measure that has an effect."""
    rows = run.evidence
    found = rows[(rows["measure"] == measure) & rows["effect"].notna()]
    return [dict(row) for _, row in found.iterrows()]


def attention_screen(run: Run) -> dict[str, Any] | None:
    """Heat map of attention, and what the screen found per region and class."""
    shown = charts(attention.by_cell, distributions.of_shares)(run) or {"charts": []}
    found = screened(run)
    if not shown["charts"] and not found:
        return None
    level = run.config.policy.screen_q
    return shown | {
        "screened": found[:SCREENED_ROWS],
        "left_out": len(found[SCREENED_ROWS:]),
        "q": level,
    }


def screened(run: Run) -> list[Record]:
    """Alignment of every region and class, with its largest disparity; the surest first."""
    rows = run.evidence
    apart: dict[tuple[str, str], Record] = {}
    known = rows[(rows["measure"] == disparity.MEASURE) & rows["effect"].notna()]
    for _, row in known.sort_values(["p_adjusted", "p", "subgroup"]).iterrows():
        apart.setdefault((row["region"], row["target_class"]), dict(row))
    found = rows[rows["measure"] == alignment.MEASURE].sort_values(
        ["p_adjusted", "effect", "region", "target_class"], ascending=[True, False, True, True]
    )
    return [
        dict(row) | {"disparity": apart.get((row["region"], row["target_class"]))}
        for _, row in found.iterrows()
    ]


def charts(*drawn: Callable[[Run], style.Chart | None]) -> Callable[[Run], dict[str, Any] | None]:
    """A section that consists of charts; none where the run has data for none of them."""

    def context(run: Run) -> dict[str, Any] | None:
        found = [chart for chart in (draw(run) for draw in drawn) if chart is not None]
        return {"charts": found} if found else None

    return context


def reliance(run: Run) -> dict[str, Any] | None:
    """Effects of the interventions, and on how many samples they were done."""
    found = charts(effects.by_act, effects.by_subgroup, distributions.of_margin_drops)(run)
    drawn = int((run.audited["stands_for"] > 0).sum())
    return found and found | {"drawn": drawn, "audited": len(run.audited)}


def pictures(run: Run) -> dict[str, Any] | None:
    """The gallery, drawn by the page from the embedded records."""
    return {} if run.pictures else None


def data(run: Run) -> dict[str, Any]:
    """Composition, what the data gives away, and quarantine."""
    bad = run.quarantined
    drawn = (composition.by_class(run), association.with_class(run))
    return {
        "charts": [chart for chart in drawn if chart is not None],
        "quarantined": len(bad),
        "kinds": Counter(str(reason).split(":")[0] for reason in bad["reason"]).most_common(),
        "bad": bad.head(QUARANTINE_ROWS)[["sample_id", "part", "reason"]].to_dict("records"),
        **data_bias(run),
    }


def limits(run: Run) -> dict[str, Any]:
    """How the verdict can be wrong."""
    return {"limits": words.LIMITS, "policy": run.config.policy}


def provenance(run: Run) -> dict[str, Any]:
    """What was audited, with what, and the configuration."""
    card = {key: value for key, value in run.model_card.items() if key != "history"}
    config = (run.folder / "config.yaml").read_text(encoding="utf-8")
    return {"facts": run.provenance, "card": card, "config": config}


SECTIONS = (
    Section("answer", "Verdict", answer),
    Section("findings", "Findings", findings),
    Section("reliance", "Reliance", reliance),
    Section("attention", "Attention", attention_screen),
    Section("mean_maps", "Mean maps", mean_maps),
    Section("explainer", "Explainer", explainer.scorecard),
    Section("neurons", "Neurons", discovery.neurons),
    Section("cues", "Unnamed cues", discovery.cues),
    Section("accuracy", "Accuracy", charts(accuracy.by_subgroup)),
    Section("harm", "Harm", harm),
    Section("pictures", "Pictures", pictures),
    Section("blind", "Blind review", blind),
    Section("data", "Data", data),
    Section("training", "Training", charts(training.curve)),
    Section("limits", "Limits", limits),
    Section("provenance", "Provenance", provenance),
)
