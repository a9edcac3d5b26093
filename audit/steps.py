"""The stages of an audit, each from run folder to run folder. Each does nothing when it is done.

prepare, fit, plan, measure (shard by shard), merge, examine, discover, judge, illustrate, trace,
(report), seal
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audit.checks.scorecard import examine_explainer
from audit.config import WHERE_COMPUTED
from audit.context import Context, Positions, choose_tests, load_context, usable, why_not_guided
from audit.data.copies import compare_anew
from audit.data.dataset import check_dataset, open_dataset, quarantine_limit
from audit.data.digest import data_digests
from audit.data.duplicates import find_duplicates
from audit.data.unaltered import altered_files, known_files
from audit.discovery.build import FOLDER as CUE_PICTURES
from audit.discovery.build import discover as look_for_cues
from audit.discovery.region import export_region
from audit.errors import RunError
from audit.events import stage, tell, tell_quarantined
from audit.gate import read_waivers
from audit.interventions.draw import draw
from audit.interventions.fills import check_fills
from audit.judgement import judge_run, today
from audit.models.devices import choose_device
from audit.models.train import train_classifier
from audit.models.weights import weights_digest
from audit.pictures import illustrate as draw_pictures
from audit.planned import plan_of, planned_context, surroundings, unchanging
from audit.release import manifest_digest
from audit.runs.changes import START_ANEW, changes, refuse
from audit.runs.files import digest_of, file_digest, read_json, write_json, write_text
from audit.runs.folder import Run
from audit.runs.inputs import model_files, refuse_other_data, with_files
from audit.runs.provenance import (
    code_digest,
    factory_digest,
    machine,
    requirements,
)
from audit.runs.record import check_record
from audit.runs.record import seal as seal_record
from audit.runs.shards import (
    is_whole,
    merge_samples,
    merge_shards,
    shard_folder,
    slices,
    write_shard,
)
from audit.shard import measure_shard
from audit.tables import (
    ATTENTION,
    CUE_ASSOCIATIONS,
    CUES,
    DUPLICATES,
    FILES,
    INTERVENTIONS,
    MAPS,
    NEURONS,
    PROPERTIES,
    SAMPLES,
    SCORECARD,
    read_table,
    write_table,
)

_NAMED = 3  # files in a message

Progress = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""


@stage("check data")
def prepare(run: Run, progress: Progress = silent) -> None:
    """Read the data set and check every sample: decode it once, quarantine what is bad.

    Then draw the samples whose pictures will be altered, before any model has seen them.

    Raises
    ------
    DataError
        If the data cannot be used, or more than ``max_bad_fraction`` of a part is bad.
    RunError
        If the run was started on other data or by other code.
    ConfigError
        If the policy names a file of waivers that is none, or a fill needs a library that is not
        installed.
    """
    config = run.config()
    compare_anew()
    check_fills(config.interventions.fills)
    if config.policy.waivers is not None and not run.finished:
        read_waivers(config.policy.waivers)  # a fault in it is better told now than at the end
    drawn = config.data.scenes.train + config.data.scenes.audit
    dataset = open_dataset(config, progress=lambda done: progress("draw scenes", done, drawn))
    if run.checked.is_file():
        with TemporaryDirectory() as folder:  # a finished run stays as it is
            found = Path(folder) / run.files.name
            now = {**data_digests(config, dataset, found), "code": code_digest()}
            refuse_other_data(run, now, found)
        return
    begun = {**data_digests(config, dataset, run.files), "code": code_digest()}
    count = len(dataset.samples)
    samples, properties = check_dataset(
        dataset,
        workers=config.execution.workers,
        progress=lambda done: progress("check data", done, count),
    )
    tell_quarantined(samples)
    quarantine_limit(samples, config.data.max_bad_fraction)
    write_json(run.data, begun)
    duplicates = find_duplicates(samples, properties, config.data.near_duplicate_bits)
    write_table(properties, PROPERTIES, run.table("properties"))
    write_table(duplicates, DUPLICATES, run.table("duplicates"))
    # Last: with it the stage is done.
    write_table(samples.assign(stands_for=draw(samples, config)), SAMPLES, run.checked)


@stage("train")
def fit(run: Run, progress: Progress = silent) -> None:
    """Train the classifier where the configuration says so; weights and card go to ``model/``."""
    config = run.config()
    if not config.model.trains:
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


@stage("plan")
def plan(run: Run) -> None:
    """Choose layer and tests, and name the digest of all that changes the numbers.

    Raises
    ------
    RunError
        If the run was planned for another model, device or version; names what changed.
    """
    config = run.config()
    context = load_context(config, run)
    inputs = {
        **read_json(run.data, "data", "code"),
        "samples": file_digest(run.checked),
        "weights": weights_digest(context.classifier.module),
        **manifest_digest(config.data),
    }
    if factory := factory_digest(config.model.architecture):
        inputs["factory"] = factory
    if config.model.checkpoint is not None:
        inputs["checkpoint"] = file_digest(config.model.checkpoint)
    settings = config.model_dump(
        mode="json",
        exclude={
            **dict.fromkeys(("name", "description", "output", "statistics"), True),
            **dict.fromkeys(("policy", "checks", "discovery"), True),
            "execution": WHERE_COMPUTED,
        },
    )
    here = surroundings(context)
    told = {name: here[name] for name in ("device", "precision", "threads")}
    tell("planned", layer=context.layer, **told)
    state = _state(inputs, here)
    digest = digest_of([settings, config.policy.required, state])
    if run.plan.is_file():
        planned = plan_of(run)
        if planned["digest"] != digest:
            before = _state(planned["inputs"], planned["environment"])
            refuse(run, changes(before, state) or [run.config_file.name])
        return
    decided = {
        "layer": context.layer,
        "tests": choose_tests(context),
        "no_guided_grad_cam": why_not_guided(config, context.classifier),
        "inputs": inputs,
        "environment": here,
        "digest": digest,
        "shards": len(slices(context.audited, config.execution.shard_size)),
    }
    write_json(run.plan, decided)


def check_finished(run: Run) -> None:
    """Refuse to take a finished run for one of today's data and weights.

    Raises
    ------
    RunError
        If the run was altered, or they differ from those that were audited.
    """
    check_record(run)
    if not run.plan.is_file():
        raise RunError(f"{run.folder}: a copy of a finished run; {START_ANEW}")
    prepare(run)
    plan(run)


def measure(run: Run, index: int) -> Path:
    """Compute one shard, or find it done and whole. Returns its folder."""
    decided = plan_of(run)
    folder = shard_folder(run.shards, decided["digest"], index)
    if is_whole(folder):
        tell("there", shard=index)
        return folder
    with stage("shard", shard=index) as facts, planned_context(run) as context:
        size = context.config.execution.shard_size
        positions = context.audited[index * size : (index + 1) * size]
        facts |= {"samples": len(positions), "device": str(context.classifier.device)}
        tables = measure_shard(context, positions)
        _refuse_altered(run, context, positions)
        write_shard(folder, tables)
    return folder


def _refuse_altered(run: Run, context: Context, positions: Positions) -> None:
    """Refuse numbers of other files than those whose hashes the run tells."""
    known = known_files(run.files)
    if altered := altered_files(context.config, context.dataset, positions, known):
        refuse(run, [f"changed: {', '.join(altered[:_NAMED])} ({len(altered)} in a shard)"])


def shard_sizes(run: Run) -> list[int]:
    """Number of samples of each shard of a planned run."""
    samples = read_table(run.checked, SAMPLES, ["part", "status"])
    return [len(p) for p in slices(usable(samples, "audit"), run.config().execution.shard_size)]


@stage("merge")
def merge(run: Run) -> None:
    """Put the shards together: the tables of the run, quarantined samples included."""
    decided = plan_of(run)
    folders = [shard_folder(run.shards, decided["digest"], i) for i in range(decided["shards"])]
    if bad := ", ".join(folder.name for folder in folders if not is_whole(folder)):
        raise RunError(f"{run.shards}: shard(s) {bad} missing or altered; start the run again")
    for table in (ATTENTION, INTERVENTIONS, MAPS):
        merge_shards(folders, table, run.table(table.name))
    merge_samples(folders, run.checked, run.table("samples"))


@stage("check the explainer")
def examine(run: Run, progress: Progress = silent) -> None:
    """Check the explainer on this model: the table ``scorecard``."""
    digest, scorecard = plan_of(run)["digest"], run.table(SCORECARD.name)
    if _is_done(run.examined, digest, [scorecard]):
        return
    with planned_context(run) as context:
        write_table(examine_explainer(context, progress), SCORECARD, scorecard)
    write_json(run.examined, _left_behind(digest, [scorecard]))


@stage("look for cues")
def discover(run: Run, progress: Progress = silent) -> None:
    """Name neurons, and look for cues that nobody annotated; the verdict reads neither."""
    if not run.config().discovery.enabled:
        return
    digest = plan_of(run)["digest"]
    if _is_done(run.discovered, digest, _cue_files(run)):
        return
    with planned_context(run) as context:
        look_for_cues(context, run, progress)
    write_json(run.discovered, _left_behind(digest, _cue_files(run)))


def name_cue(run: Run, cue: int, name: str, output: Path, progress: Progress = silent) -> int:
    """Write an unnamed cue of a finished run as a region with an audit that tests it.

    Returns how many pictures show it; raises what :func:`export_region` does.
    """
    check_finished(run)
    told = partial(progress, "name the cue")
    with planned_context(run) as context:
        return export_region(context, run, cue, name, output, told)


def _cue_files(run: Run) -> list[Path]:
    tables = [run.table(table.name) for table in (NEURONS, CUES, CUE_ASSOCIATIONS)]
    return [*tables, *sorted((run.folder / CUE_PICTURES).glob("*"))]


def _left_behind(digest: str, files: Sequence[Path]) -> dict[str, Any]:
    """What a stage left behind, and for which numbers."""
    found = {path.name: file_digest(path) for path in files if path.is_file()}
    return {"digest": digest, "files": found}


def _is_done(note: Path, digest: str, files: Sequence[Path]) -> bool:
    """Whether a stage is done for these numbers, and what it left is unaltered."""
    return note.is_file() and read_json(note) == _left_behind(digest, files)


@stage("judge")
def judge(run: Run) -> None:
    """Tables to evidence, findings and verdict."""
    judgement = judge_run(run, today())
    judgement.write(run.folder)
    tell("judged", verdict=judgement.verdict.verdict)


@stage("draw pictures")
def illustrate(run: Run) -> None:
    """Choose the samples that the report shows, and draw their maps and altered pictures."""
    with planned_context(run) as context:
        draw_pictures(context, run)


def trace(run: Run) -> None:
    """Write where the numbers come from."""
    config, decided = run.config(), plan_of(run)
    identity = read_json(run.identity, "config_digest", "started")
    with_files(run.files, model_files(config, decided["inputs"]), run.table(FILES.name))
    finished, kept = datetime.now(UTC), config.output.retention_days
    write_text(run.requirements, requirements())
    write_json(
        run.provenance,
        {
            "audit": config.name,
            **decided["environment"],
            "machine": machine(choose_device(config)),
            "started": identity["started"],
            "finished": finished.isoformat(),
            "keep_until": str(finished.date() + timedelta(days=kept)) if kept else None,
            "seed": config.seed,
            "layer": decided["layer"],
            "tests": decided["tests"],
            "no_guided_grad_cam": decided["no_guided_grad_cam"],
            "sha256": {
                **decided["inputs"],
                "config": identity["config_digest"],
                "requirements": file_digest(run.requirements),
            },
            "numbers_digest": decided["digest"],
        },
    )


@stage("seal")
def seal(run: Run) -> None:
    """Write the record of all files; the run is finished."""
    seal_record(run)


def _state(inputs: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """All that changes the numbers, besides the configuration."""
    return {**inputs, **unchanging(environment)}
