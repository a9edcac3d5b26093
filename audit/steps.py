"""The stages of an audit, each from run folder to run folder. Each does nothing when it is done.

prepare, fit, plan, measure (shard by shard), merge, judge, illustrate, trace,
(report), seal
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from audit.config import Audit
from audit.context import Context, choose_layer, choose_tests, usable, why_not_guided
from audit.data.dataset import check_dataset, open_dataset, quarantine_limit
from audit.data.digest import data_digest
from audit.errors import DataError, ModelError, RunError
from audit.evidence import ATTENTION_COLUMNS, INTERVENTIONS_COLUMNS, build_evidence
from audit.gate import decide, judge_findings, junit_xml, summary_markdown
from audit.interventions.swap import Donors, choose_donors
from audit.models.load import load_classifier
from audit.models.train import train_classifier
from audit.pictures import illustrate as draw_pictures
from audit.runs.files import digest_of, file_digest, read_json, write_json, write_text
from audit.runs.folder import Run
from audit.runs.provenance import environment
from audit.runs.record import seal as seal_record
from audit.runs.shards import merge_shards, shard_folder, slices, write_shard
from audit.shard import measure_shard
from audit.tables import (
    ATTENTION,
    EVIDENCE,
    INTERVENTIONS,
    MAPS,
    SAMPLES,
    UNKNOWN,
    attribute_column,
    read_table,
    write_table,
)

GRAD_CAM_OF_TRUE_CLASS = {"method": "grad-cam", "explained": "true"}  # the rest is for the eye

Progress = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""


def prepare(run: Run, progress: Progress = silent) -> None:
    """Read the data set and check every sample: decode it once, quarantine what is bad.

    Raises
    ------
    DataError
        If the data cannot be used, or more than ``max_bad_fraction`` of it is bad.
    """
    if run.checked.is_file():
        return
    config = run.config()
    drawn = config.data.scenes.train + config.data.scenes.audit
    dataset = open_dataset(config, progress=lambda done: progress("draw scenes", done, drawn))
    count = len(dataset.samples)
    samples, _ = check_dataset(
        dataset,
        workers=config.execution.workers,
        progress=lambda done: progress("check data", done, count),
    )
    quarantine_limit(samples, config.data.max_bad_fraction)
    write_table(samples, SAMPLES, run.checked)


def fit(run: Run, progress: Progress = silent) -> None:
    """Train the classifier where the configuration says so; weights and card go to ``model/``."""
    config = run.config()
    if not config.model.trains or (run.model / "card.json").is_file():
        return
    samples = read_table(run.checked, SAMPLES)
    run.model.mkdir(exist_ok=True)
    train_classifier(
        config,
        open_dataset(config),
        samples,
        run.model,
        choose_device(config),
        progress=lambda done, total, message: progress(f"train {message}".strip(), done, total),
    )


def plan(run: Run) -> dict[str, Any]:
    """Choose layer and tests, and name the digest of all that changes the numbers."""
    if run.plan.is_file():
        return _plan_of(run)
    config = run.config()
    context = build_context(config, run)
    settings = config.model_dump(
        mode="json", exclude={"output", "policy", "statistics", "description", "name"}
    )
    inputs = {
        "data": data_digest(config, context.dataset),
        "samples": file_digest(run.checked),
        "weights": _weights_digest(config, run),
    }
    decided = {
        "layer": context.layer,
        "tests": choose_tests(context),
        "no_guided_grad_cam": why_not_guided(config, context.classifier),
        "classes": context.classifier.classes,
        "inputs": inputs,
        "environment": environment(context.classifier.device),
        "digest": digest_of([settings, inputs, context.classifier.device.type]),
        "shards": len(slices(context.audited, config.execution.shard_size)),
    }
    write_json(run.plan, decided)
    return decided


def measure(run: Run, index: int) -> Path:
    """Compute one shard, or find it done. Returns its folder."""
    decided = _plan_of(run)
    folder = shard_folder(run.shards, decided["digest"], index)
    if not folder.is_dir():
        context = _loaded(run.folder, decided["digest"])
        positions = slices(context.audited, context.config.execution.shard_size)[index]
        write_shard(folder, measure_shard(context, positions))
    return folder


def shard_sizes(run: Run) -> list[int]:
    """Number of samples of each shard of a planned run."""
    samples = read_table(run.checked, SAMPLES, ["part", "status"])
    return [len(p) for p in slices(usable(samples, "audit"), run.config().execution.shard_size)]


def merge(run: Run) -> None:
    """Put the shards together: the tables of the run, quarantined samples included."""
    decided = _plan_of(run)
    folders = [shard_folder(run.shards, decided["digest"], i) for i in range(decided["shards"])]
    missing = [folder.name for folder in folders if not folder.is_dir()]
    if missing:
        raise RunError(f"{run.shards}: shard(s) {', '.join(missing)} missing; start the run again")
    for table in (ATTENTION, INTERVENTIONS, MAPS):
        merge_shards(folders, table, run.table(table.name))
    samples = read_table(run.checked, SAMPLES).astype({"prediction": object})
    attributes = [c for c in samples.columns if c.startswith(attribute_column(""))]
    measured = SAMPLES.schema()
    for folder in folders:
        scored = read_table(folder / "samples.parquet", SAMPLES).set_index("sample_id")
        at = samples.index[samples["sample_id"].isin(scored.index) & (samples["part"] == "audit")]
        for column in ("prediction", "score", "margin", "true_margin"):
            values = scored[column].reindex(samples.loc[at, "sample_id"])
            samples.loc[at, column] = values.astype(samples[column].dtype).to_numpy()
    write_table(samples[[*measured.names, *attributes]], SAMPLES, run.table("samples"))


def judge(run: Run) -> None:
    """Tables to evidence, findings and verdict."""
    config = run.config()
    samples = read_table(run.table("samples"), SAMPLES)
    evidence = build_evidence(
        samples,
        read_table(run.table("attention"), ATTENTION, ATTENTION_COLUMNS, GRAD_CAM_OF_TRUE_CLASS),
        read_table(run.table("interventions"), INTERVENTIONS, INTERVENTIONS_COLUMNS),
        config,
    )
    findings = judge_findings(evidence, config)
    verdict = decide(findings)
    write_table(evidence, EVIDENCE, run.table("evidence"))
    write_json(run.findings, {"findings": [asdict(finding) for finding in findings]})
    write_text(run.verdict, verdict.to_json())
    write_text(run.folder / "summary.md", summary_markdown(config, findings, verdict))
    write_text(run.folder / "junit.xml", junit_xml(config, findings, verdict))


def illustrate(run: Run) -> None:
    """Choose the samples that the report shows, and draw their maps and altered pictures."""
    decided = _plan_of(run)
    draw_pictures(_loaded(run.folder, decided["digest"]), run)


def trace(run: Run) -> None:
    """Write where the numbers come from."""
    config, decided, identity = run.config(), _plan_of(run), read_json(run.identity)
    write_json(
        run.provenance,
        {
            **decided["environment"],
            "started": identity["started"],
            "finished": datetime.now(UTC).isoformat(),
            "seed": config.seed,
            "layer": decided["layer"],
            "tests": decided["tests"],
            "no_guided_grad_cam": decided["no_guided_grad_cam"],
            "sha256": {**decided["inputs"], "config": identity["config_digest"]},
            "numbers_digest": decided["digest"],
        },
    )


def seal(run: Run) -> None:
    """Write the record of all files; the run is finished."""
    seal_record(run)


def build_context(config: Audit, run: Run) -> Context:
    """Data as checked by the run, the classifier (trained by it, or loaded) and the layer.

    Raises
    ------
    DataError
        If the manifest is not the one that was checked.
    """
    dataset = open_dataset(config)
    samples = read_table(run.checked, SAMPLES)
    if not samples["sample_id"].equals(dataset.samples["sample_id"]):
        raise DataError("the manifest changed since the run was started; start a new run")
    trained = run.model / "model.safetensors" if config.model.trains else None
    classifier = load_classifier(
        config.model, dataset.classes, choose_device(config), weights=trained
    )
    return Context(config, dataset, samples, classifier, choose_layer(config, classifier))


def choose_device(config: Audit) -> torch.device:
    """The configured device; auto takes a GPU where there is one.

    Raises
    ------
    ModelError
        If the device is not there.
    """
    name = config.execution.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(
            f"execution.device: '{name}' is no device; use auto, cpu or cuda"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"execution.device: '{name}', but no CUDA device is there; use auto or cpu"
        )
    return device


@lru_cache(maxsize=1)
def _loaded(folder: Path, digest: str) -> Context:
    """Context of a planned run, loaded once per process."""
    run = Run(folder)
    decided = _plan_of(run)
    context = build_context(run.config(), run)
    return replace(
        context,
        layer=decided["layer"],
        tests=decided["tests"],
        donors=donors_of(context),
        guided=decided["no_guided_grad_cam"] is None,
    )


def donors_of(context: Context) -> Donors | None:
    """Donors of the swap among the audited samples, or None where none is configured."""
    swap = context.config.interventions.swap
    if swap is None:
        return None
    columns = {swap.attribute, *swap.match, *(swap.control_match or [])}
    unknown = sorted(columns - set(context.dataset.rows.columns))
    if unknown:
        raise DataError(f"interventions.swap: the manifest has no column {', '.join(unknown)}")
    eligible = context.samples.index.isin(context.audited)
    known = context.samples[attribute_column(swap.attribute)].astype(str) != UNKNOWN
    rows = context.dataset.rows.assign(sample_id=context.samples["sample_id"])
    return choose_donors(rows, eligible & known.to_numpy(), swap)


def _plan_of(run: Run) -> dict[str, Any]:
    decided: dict[str, Any] = read_json(run.plan)
    return decided


def _weights_digest(config: Audit, run: Run) -> str:
    if config.model.trains:
        return file_digest(run.model / "model.safetensors")
    if config.model.checkpoint is not None:
        return file_digest(config.model.checkpoint)
    return digest_of([config.model.architecture, config.model.arguments])
