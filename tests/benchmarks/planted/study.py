"""The jobs of the study: one model each, trained, measured and audited; one file each."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from audit.atomic import replacing
from audit.models.classifier import Classifier
from audit.shard import Tables
from tests.benchmarks.planted import power
from tests.benchmarks.planted.audit import (
    Result,
    annotated,
    arms_exchanged,
    config_of,
    context_of,
    judged,
    measured,
    part_of,
)
from tests.benchmarks.planted.baselines import (
    attention_baselines,
    predictive_power,
    worst_group_gap,
)
from tests.benchmarks.planted.scenes import CUES, LOCALISED, Scenes, draw, stream
from tests.benchmarks.planted.train import ARCHITECTURES, accuracy, spurious_score, train

ASSOCIATIONS = (0.5, 0.7, 0.85, 0.95, 1.0)
PLANTED, TRAINED_OUT, NO_CUE, POWER = "planted", "trained-out", "no-cue", "power"

_COVERED = {"small-cnn": (0.5, 0.85, 1.0), "tiny-resnet": (0.7, 0.95)}  # of the first seed
_ACT = ["target_class", "act", "n", "clusters", "effect", "low", "high", "lower_limit"]
_ACT += ["upper_limit", "p", "p_adjusted", "detectable"]


@dataclass(frozen=True)
class Settings:
    """Sizes of everything.

    Parameters
    ----------
    seeds
        Models per cue, association and architecture.
    training, epochs
        Pictures of a model's training, and passes over them.
    truth
        Fresh pictures for the spurious score (half of them rings).
    audited
        Fresh pictures of an audit.
    null_audits
        Audits of a model that is a null by design; others have one.
    population, covered_audits, covered
        Fresh pictures that stand for the true effect, audits whose intervals are compared with
        it, and pictures of each.
    simulations
        Audits per size when the detectable effect is checked.
    """

    seeds: int = 3
    training: int = 2000
    epochs: int = 10
    truth: int = 4000
    audited: int = 800
    null_audits: int = 6
    population: int = 20_000
    covered_audits: int = 25
    covered: int = 400
    simulations: int = 200


QUICK = Settings(
    seeds=1,
    training=600,
    epochs=2,
    truth=400,
    audited=160,
    null_audits=2,
    population=600,
    covered_audits=2,
    covered=120,
    simulations=10,
)


@dataclass(frozen=True)
class Job:
    """One model (or one simulation of power at ``seed`` clusters)."""

    kind: str
    cue: str
    association: float
    architecture: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the job's file."""
        return f"{self.kind}_{self.cue}_{self.association:g}_{self.architecture}_{self.seed}"

    @property
    def null(self) -> bool:
        """Whether the model is a null by design."""
        return self.kind in (TRAINED_OUT, NO_CUE) or self.association == 0.5

    @property
    def covered(self) -> bool:
        """Whether the coverage of intervals is measured on the model."""
        chosen = _COVERED[self.architecture]
        return self.kind == PLANTED and self.seed == 0 and self.association in chosen


def jobs(settings: Settings) -> list[Job]:
    """All jobs of the study, seed by seed, so that a part of them is a smaller study."""
    found = [Job(POWER, "hair", 0.5, "none", n) for n in power.SIZES]
    for seed in range(settings.seeds):
        for cue in CUES:
            for architecture in ARCHITECTURES:
                found += [Job(PLANTED, cue, p, architecture, seed) for p in ASSOCIATIONS]
                if seed < 2:
                    found.append(Job(TRAINED_OUT, cue, 0.95, architecture, seed))
                if seed < 1:
                    found.append(Job(NO_CUE, cue, 0.5, architecture, seed))
    return found


def run(folder: Path, settings: Settings, todo: Sequence[Job], workers: int) -> list[str]:
    """Do the jobs that are not done yet; returns the errors.

    Each job's file is written whole or not at all, so a killed study goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    open_jobs = [job for job in todo if not is_done(folder, settings, job)]
    errors = []
    spawn = get_context("spawn")
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress,
        ProcessPoolExecutor(workers, mp_context=spawn, initializer=_settle) as pool,
    ):
        bar = progress.add_task("planted", total=len(todo), completed=len(todo) - len(open_jobs))
        running = {pool.submit(do, folder, settings, job): job for job in open_jobs}
        for done in as_completed(running):
            error = done.result()
            if error:
                errors.append(f"{running[done].name}: {error}")
            progress.advance(bar)
    return errors


def is_done(folder: Path, settings: Settings, job: Job) -> bool:
    """Whether a job's file is there and was made with these settings."""
    try:
        record = json.loads((folder / f"{job.name}.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(record.get("settings") == asdict(settings))


def do(folder: Path, settings: Settings, job: Job) -> str | None:
    """Do one job and write its file; returns what went wrong, if anything."""
    started = time.perf_counter()
    try:
        found = power.simulate(job.seed, settings.simulations) if job.kind == POWER else None
        record = found or model_record(settings, job)
    except Exception:  # the other jobs go on; what failed is told at the end
        return traceback.format_exc(limit=-2)
    record |= {"job": asdict(job), "settings": asdict(settings)}
    record["seconds"] = round(time.perf_counter() - started, 2)
    with replacing(folder / f"{job.name}.json") as temporary:
        temporary.write_text(json.dumps(record))
    return None


def model_record(settings: Settings, job: Job) -> dict[str, Any]:
    """Train a model, measure its reliance directly, and audit it."""
    training = _drawn(job, settings.training, "training", job.association)
    classifier = train(
        job.architecture,
        training,
        job.seed,
        epochs=settings.epochs,
        trained_out=job.kind == TRAINED_OUT,
    )
    fresh = draw(job.cue, settings.truth, stream(job.seed, job.name, "truth"))
    audits = settings.null_audits if job.null else 1
    scenes = _drawn(job, audits * settings.audited, "audit")
    config = config_of(job.cue, job.seed)
    parts = _parts(classifier, job, scenes, settings.audited)
    results = [judged(part, config, attention=False) for part in parts]
    return {
        "accuracy": accuracy(classifier, fresh),
        "spurious": spurious_score(classifier, fresh),
        "audits": [_told(result) for result in results],
        "baselines": _baselines(job, training, parts[0], scenes),
        "exchanged": _exchanged(job, parts) if job.null and job.cue in LOCALISED else [],
        "coverage": _coverage(classifier, job, settings) if job.covered else None,
    }


def _drawn(job: Job, n: int, purpose: str, association: float | None = None) -> Scenes:
    """Pictures of a job; without a cue the annotation is all there is of it."""
    scenes = draw(job.cue, n, stream(job.seed, job.name, purpose), association)
    return replace(scenes, marked=scenes.plain) if job.kind == NO_CUE else scenes


def _parts(classifier: Classifier, job: Job, scenes: Scenes, size: int) -> list[Tables]:
    """The tables of consecutive audits."""
    tables = measured(context_of(job.cue, classifier, scenes, "a", job.seed))
    return [part_of(tables, start, size) for start in range(0, len(scenes), size)]


def _baselines(job: Job, training: Scenes, tables: Tables, scenes: Scenes) -> dict[str, float]:
    """What other methods say of the model, from the first audit."""
    size = len(tables["samples"])
    rng = stream(job.seed, job.name, "baselines")
    region = annotated(job.cue, scenes)[:size]
    return {
        **attention_baselines(tables, region, rng),
        "predictive power": predictive_power(training),
        "worst-group gap": worst_group_gap(tables, scenes.present[:size]),
    }


def _exchanged(job: Job, parts: list[Tables]) -> list[list[dict[str, Any]]]:
    """The acts of the audits when act and placebo are exchanged by a coin."""
    config = config_of(job.cue, job.seed)
    rng = stream(job.seed, job.name, "coin")
    return [
        _acts(judged(arms_exchanged(part, rng), config, attention=False).evidence) for part in parts
    ]


def _told(result: Result) -> dict[str, Any]:
    return {
        "verdict": result.verdict,
        "score": result.score,
        "p": result.p,
        "statuses": {f.target_class: f.status for f in result.findings},
        "acts": _acts(result.evidence),
    }


def _acts(evidence: pd.DataFrame) -> list[dict[str, Any]]:
    texts = dict.fromkeys(("target_class", "act"), str)
    told: list[dict[str, Any]] = json.loads(evidence[_ACT].astype(texts).to_json(orient="records"))
    return told


def _coverage(classifier: Classifier, job: Job, settings: Settings) -> dict[str, Any]:
    """Effects on many fresh pictures, and the intervals of many audits of other fresh ones."""
    config = config_of(job.cue, job.seed)
    fresh = _measured(classifier, job, settings.population, "p")
    population = judged(fresh, config, attention=False)
    size = settings.covered
    pool = _measured(classifier, job, settings.covered_audits * size, "c")
    audits = [part_of(pool, i * size, size) for i in range(settings.covered_audits)]
    return {
        "truth": _acts(population.evidence),
        "audits": [_acts(judged(tables, config, attention=False).evidence) for tables in audits],
        "small": list(_small(job, audits)),
    }


def _measured(classifier: Classifier, job: Job, n: int, prefix: str) -> Tables:
    """Tables of many fresh pictures, without maps; in parts, to stay small in memory."""
    found = []
    for k, start in enumerate(range(0, n, 4000)):
        scenes = _drawn(job, min(4000, n - start), f"{prefix}{k}")
        tables = measured(context_of(job.cue, classifier, scenes, f"{prefix}{k:03d}-", job.seed))
        found.append({name: table for name, table in tables.items() if name != "maps"})
    return {name: pd.concat([part[name] for part in found], ignore_index=True) for name in found[0]}


def _small(job: Job, audits: list[Tables]) -> Iterator[dict[str, Any]]:
    """Audits of 20 and 40 pictures (10 and 20 with the cue), by the policy and by a lax one."""
    for pictures in (20, 40):
        for lax in (False, True):
            config = config_of(job.cue, job.seed, **({"min_clusters": 2} if lax else {}))
            for tables in audits[:10]:
                result = judged(part_of(tables, 0, pictures), config, attention=False)
                yield {"pictures": pictures, "lax": lax, "verdict": result.verdict}


def _settle() -> None:
    """One thread; what was imported is not looked at by the garbage collector any more.

    ``statsmodels`` collects garbage in every correction of p-values, half the time of an audit.
    """
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
