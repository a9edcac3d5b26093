"""The files of the jobs as Markdown: what is claimed, with an interval on every number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from audit.evidence.intervals import rate
from tests.benchmarks.planted.baselines import NAMES
from tests.benchmarks.planted.scenes import CUES, LOCALISED, stream
from tests.benchmarks.planted.study import NO_CUE, PLANTED, POWER, TRAINED_OUT

OURS = "this audit"
RELIES, CLEAN = 0.25, 0.05  # spurious score above the mean of the cue's null models

Pair = tuple[float, float]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Study:
    """What was found.

    Parameters
    ----------
    models
        A row per model: kind, cue, association, architecture, seed, accuracy, spurious, above,
        truth (relies, clean, between), verdict, null, and a column per score.
    nulls
        A row per audit of a null model: model, kind, cue, architecture, verdict, p, score, the p of
        one act chosen by chance (``one_p``), and likewise with arms exchanged (``exchanged_p``).
    coverage
        A row per interval: model, cue, act, truth, in95, in90.
    small
        A row per audit of few pictures.
    power
        A row per simulated size.
    seconds
        Of all jobs together.
    """

    models: pd.DataFrame
    nulls: pd.DataFrame
    coverage: pd.DataFrame
    small: pd.DataFrame
    power: pd.DataFrame
    seconds: float


def read(folder: Path) -> Study:
    """Read the files of the jobs."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    models = [record for record in records if record["job"]["kind"] != POWER]
    return Study(
        _models(models),
        pd.DataFrame([row for record in models for row in _nulls(record)]),
        pd.DataFrame([row for record in models for row in _covered(record)]),
        pd.DataFrame([row for record in models for row in _small(record)]),
        pd.DataFrame([record for record in records if record["job"]["kind"] == POWER]),
        sum(record["seconds"] for record in records),
    )


def _name(job: dict[str, Any]) -> str:
    return " ".join(str(value) for value in job.values())


def _models(records: list[dict[str, Any]]) -> pd.DataFrame:
    rows = []
    for record in records:
        job, first = record["job"], record["audits"][0]
        effects = [act["effect"] for act in first["acts"] if act["effect"] is not None]
        rows.append(
            {
                **job,
                "null": job["kind"] != PLANTED or job["association"] == 0.5,
                "accuracy": record["accuracy"],
                "spurious": record["spurious"],
                "verdict": first["verdict"],
                "effect": max(effects, default=np.nan),
                OURS: first["score"],
                **record["baselines"],
            }
        )
    models = pd.DataFrame(rows)
    nulls = models[models["null"] & (models["kind"] != NO_CUE)]
    base = models["cue"].map(nulls.groupby("cue")["spurious"].mean())
    models["above"] = models["spurious"] - base.fillna(0.0)
    models["truth"] = np.select(
        [models["above"] >= RELIES, models["above"] <= CLEAN], ["relies", "clean"], "between"
    )
    # Its audit has no cue at all: what it would do with one does not matter.
    models.loc[models["kind"] == NO_CUE, "truth"] = "clean"
    return models


def _nulls(record: dict[str, Any]) -> Iterable[dict[str, Any]]:
    job = record["job"]
    if job["kind"] == PLANTED and job["association"] != 0.5:
        return
    kind = "independent" if job["kind"] == PLANTED else job["kind"]
    for i, audit in enumerate(record["audits"]):
        chance = stream(i, "one p", _name(job))
        exchanged = record["exchanged"][i] if record["exchanged"] else []
        yield {
            "model": _name(job),
            "kind": kind,
            "cue": job["cue"],
            "verdict": audit["verdict"],
            "score": audit["score"],
            "p": audit["p"],
            "one_p": _one_p(audit["acts"], chance),
            "exchanged_p": _one_p(exchanged, chance),
        }


def _one_p(acts: list[dict[str, Any]], chance: np.random.Generator) -> float:
    p_values = [act["p"] for act in acts if act["p"] is not None]
    return float(chance.choice(p_values)) if p_values else np.nan


def _covered(record: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if record["coverage"] is None:
        return
    truth = {(a["target_class"], a["act"]): a["effect"] for a in record["coverage"]["truth"]}
    for audit in record["coverage"]["audits"]:
        for act in audit:
            true = truth.get((act["target_class"], act["act"]))
            if true is None or act["effect"] is None or act["clusters"] < 30:
                continue
            yield {
                "model": _name(record["job"]),
                "cue": record["job"]["cue"],
                "measure": "sufficiency" if act["act"].startswith("keep") else "removal",
                "truth": true,
                "error": act["effect"] - true,
                "in95": act["low"] <= true <= act["high"],
                "in90": act["lower_limit"] <= true <= act["upper_limit"],
                "above_lower": act["lower_limit"] <= true,
                "below_upper": true <= act["upper_limit"],
            }


def _small(record: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if record["coverage"] is not None:
        for audit in record["coverage"]["small"]:
            yield {"model": _name(record["job"]), "spurious": record["spurious"], **audit}


# Numbers with intervals


def auc(positive: Floats, negative: Floats) -> tuple[float, Pair]:
    """Area under the curve with Newcombe's interval, which exists at 1 too.

    Method 5 of Newcombe, Statistics in Medicine 25 (2006) 559-573: the variance of Hanley and
    McNeil at the limit, with both sizes replaced by their mean.

    >>> auc(np.array([2.0, 3.0]), np.array([0.0, 1.0]))[0]
    1.0
    """
    m, n = len(positive), len(negative)
    truth = np.r_[np.ones(m), np.zeros(n)]
    area = float(roc_auc_score(truth, np.r_[positive, negative]))
    half = (m + n) / 2 - 1
    z = float(stats.norm.ppf(0.975))

    def off(limit: float) -> float:
        varied = 1 + half * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        return (area - limit) ** 2 - z**2 * limit * (1 - limit) * varied / (m * n)

    tiny = 1e-9
    low = 0.0 if area <= tiny else float(brentq(off, tiny, area - tiny / 2))
    high = 1.0 if area >= 1 - tiny else float(brentq(off, area + tiny / 2, 1 - tiny))
    return area, (low, high)


def wilson(hits: int, n: int) -> tuple[float, Pair]:
    """A rate of models with Wilson's 95 % interval."""
    low, high = proportion_confint(hits, n, method="wilson")
    return hits / n, (float(low), float(high))


def clustered(hits: pd.Series, models: pd.Series) -> tuple[float, Pair]:
    """A rate of audits with Wilson's 95 % interval at the effective number of models."""
    codes = pd.factorize(models)[0]
    found = rate(hits.to_numpy(np.float64), codes, 0.95)
    return found.effect, (found.low, found.high)


def threshold(negative: Floats) -> float:
    """The score that 5 % of the null audits reach."""
    return float(np.quantile(negative, 0.95, method="higher"))


# Tables


def markdown(study: Study) -> str:
    """All tables."""
    parts = (summary, by_cue, against, false_alarms, null_p, coverage, doses, small_cells, power)
    return "\n\n".join(f"### {_title(part)}\n\n{part(study)}" for part in parts) + "\n"


def _title(part: Any) -> str:
    return str(part.__doc__).splitlines()[0].rstrip(".")


def summary(study: Study) -> str:
    """Verdicts against the truth."""
    models = study.models
    local = models[models["cue"].isin(LOCALISED)]
    rows = []
    for name, some in (("localised cues", local), ("all cues", models)):
        relies, clean = some[some["truth"] == "relies"], some[some["truth"] == "clean"]
        failed = some[some["verdict"] == "FAIL"]
        if not len(relies) or not len(clean):
            continue
        nulls = study.nulls[study.nulls["cue"].isin(some["cue"])]
        bar = threshold(nulls["score"].to_numpy())
        area, interval = auc(relies[OURS].to_numpy(), clean[OURS].to_numpy())
        rows += [
            (name, "models: rely / between / clean", _counts(some), ""),
            (name, "AUC", f"{area:.3f}", _pair(interval)),
            (name, "recall at 5 % false alarms", *_hits(relies[OURS] > bar)),
            (name, "recall of the verdict (FAIL)", *_hits(relies["verdict"] == "FAIL")),
            (name, "relying models that PASS", *_hits(relies["verdict"] == "PASS")),
            (name, "clean models that PASS", *_hits(clean["verdict"] == "PASS")),
        ]
        if len(failed):
            rows.append((name, "FAIL though clean", *_hits(failed["truth"] == "clean")))
            rows.append((name, "FAIL though not relying", *_hits(failed["truth"] != "relies")))
    return _table(("", "", "", "95 % interval"), rows)


def by_cue(study: Study) -> str:
    """Per cue."""
    models, rows = study.models, []
    for cue in CUES:
        some = models[models["cue"] == cue]
        relies, clean = some[some["truth"] == "relies"], some[some["truth"] == "clean"]
        told = [
            f"{(group['verdict'] == 'FAIL').sum()} of {len(group)}" for group in (relies, clean)
        ]
        passed = f"{(clean['verdict'] == 'PASS').sum()} of {len(clean)}"
        area = _auc_text(relies[OURS], clean[OURS])
        rows.append((cue, _counts(some), *told, passed, area))
    head = ("cue", "rely / between / clean", "FAIL, relying", "FAIL, clean", "PASS, clean", "AUC")
    return _table(head, rows)


def against(study: Study) -> str:
    """AUC of this audit and of the baselines, on the same models."""
    models, rows = study.models, []
    for cue in CUES:
        some = models[models["cue"] == cue]
        relies, clean = some[some["truth"] == "relies"], some[some["truth"] == "clean"]
        rows.append((cue, *(_auc_text(relies[s], clean[s]) for s in (OURS, *NAMES))))
    return _table(("cue", OURS, *NAMES), rows)


def false_alarms(study: Study) -> str:
    """False alarms over the audits of null models."""
    nulls, rows = study.nulls, []
    for kind in ("all", "independent", TRAINED_OUT, NO_CUE):
        some = nulls if kind == "all" else nulls[nulls["kind"] == kind]
        if not len(some):
            continue
        cells = [
            f"{_percent(value)} ({_pair(interval, percent=True)})"
            for value, interval in (
                clustered(some["verdict"] == "FAIL", some["model"]),
                clustered(some["p"] < 0.05, some["model"]),
                clustered(some["one_p"] < 0.05, some["model"]),
                clustered(some["verdict"] == "PASS", some["model"]),
            )
        ]
        rows.append((kind, len(some), some["model"].nunique(), *cells))
    head = ("nulls", "audits", "models", "FAIL", "adjusted p < .05", "one p < .05", "PASS")
    return _table(head, rows)


def null_p(study: Study) -> str:
    """Uniformity of null p-values (one act of each audit, by chance)."""
    nulls = study.nulls
    local = nulls["cue"].isin(LOCALISED)
    groups = [("removal, act and placebo exchanged by a coin (exact null)", nulls["exchanged_p"])]
    for what, some in (("removal", nulls[local]), ("sufficiency", nulls[~local])):
        groups.append((f"{what}, all null models", some["one_p"]))
        groups += [(f"{what}, {kind}", part["one_p"]) for kind, part in some.groupby("kind")]
    rows = []
    for what, column in groups:
        values = column.dropna()
        if len(values):
            either = stats.kstest(values, "uniform")
            smaller = stats.kstest(values, "uniform", alternative="greater").pvalue
            distance = f"{either.statistic:.3f}"
            rows.append((what, len(values), distance, f"{either.pvalue:.3g}", f"{smaller:.3g}"))
    head = ("test, nulls", "audits", "KS distance", "KS p", "KS p against too small p-values")
    return _table(head, rows)


def coverage(study: Study) -> str:
    """Coverage of the intervals."""
    found, rows = study.coverage, []
    if not len(found):
        return "Not measured."
    removal = found["measure"] == "removal"
    moved = found["truth"].abs() >= 0.05
    groups = (
        ("all", found),
        *found.groupby("measure"),
        ("removal, effect of .05 or more", found[removal & moved]),
        ("removal, effect below .05", found[removal & ~moved]),
        *found.groupby("cue"),
    )
    for what, some in groups:
        cells = [
            f"{_percent(value)} ({_pair(interval, percent=True)})"
            for value, interval in (
                clustered(some[name], some["model"])
                for name in ("in95", "in90", "above_lower", "below_upper")
            )
        ]
        rows.append((what, len(some), some["model"].nunique(), *cells))
    head = ("", "intervals", "models", "95 %", "90 %", "lower limit 95 %", "upper limit 95 %")
    return _table(head, rows)


def doses(study: Study) -> str:
    """Dose and response: P(cue | cross), spurious score, effect found, and how many FAIL."""
    planted = study.models[study.models["kind"] == PLANTED]
    rows = []
    for cue in CUES:
        cells = []
        for _, some in planted[planted["cue"] == cue].groupby("association"):
            failed = (some["verdict"] == "FAIL").sum()
            cells.append(
                f"{some['spurious'].mean():.2f} / {some['effect'].mean():.2f} / "
                f"{failed} of {len(some)}"
            )
        some = planted[planted["cue"] == cue]
        if len(some) > 2:
            trend = stats.spearmanr(some["spurious"], some["effect"]).statistic
            rows.append((cue, *cells, f"{trend:.2f}"))
    strengths = [f"{p:g}" for p in sorted(planted["association"].unique())]
    return _table(("cue", *strengths, "rank correlation"), rows)


def small_cells(study: Study) -> str:
    """Small cells: audits of few pictures, half of them with the cue."""
    if not len(study.small):
        return "Not measured."
    rows = []
    for (pictures, lax), some in study.small.groupby(["pictures", "lax"]):
        counts = some["verdict"].value_counts()
        told = ", ".join(f"{name} {counts[name]}" for name in sorted(counts.index))
        rows.append((pictures, "2" if lax else "30 (default)", len(some), told))
    return _table(("pictures", "fewest clusters", "audits", "verdicts"), rows)


def power(study: Study) -> str:
    """The printed detectable effect, and how often it is confirmed."""
    if not len(study.power):
        return "Not measured."
    rows = []
    for _, row in study.power.sort_values("clusters").iterrows():
        cells = []
        for effect, hits in (("clean", "confirmed_at_clean"), ("own", "confirmed_at_own")):
            value, interval = wilson(int(row[hits]), int(row["audits"]))
            cells += [f"{row[effect]:.3f}", f"{_percent(value)} ({_pair(interval, percent=True)})"]
        rows.append((row["clusters"], *cells))
    head = ("clusters", "printed when clean", "confirmed", "printed at itself", "confirmed")
    return _table(head, rows)


def _counts(some: pd.DataFrame) -> str:
    return " / ".join(str((some["truth"] == t).sum()) for t in ("relies", "between", "clean"))


def _hits(hits: pd.Series) -> tuple[str, str]:
    value, interval = wilson(int(hits.sum()), len(hits))
    return f"{value:.3f} ({int(hits.sum())} of {len(hits)})", _pair(interval)


def _auc_text(relies: pd.Series, clean: pd.Series) -> str:
    if not len(relies) or not len(clean):
        return "-"
    area, interval = auc(relies.to_numpy(np.float64), clean.to_numpy(np.float64))
    return f"{area:.3f} ({_pair(interval)})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _pair(interval: Pair, *, percent: bool = False) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}" if percent else f"{low:.3f} to {high:.3f}"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
