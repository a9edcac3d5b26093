"""What a planned run is computed with, in this process or in that of a worker elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

import torch

from audit.context import Context, load_context
from audit.errors import RunError
from audit.interventions.fills import fill_versions
from audit.models.weights import weights_digest
from audit.runs.changes import changes
from audit.runs.files import read_json
from audit.runs.folder import Run
from audit.runs.provenance import code_digest, environment, factory_digest

TOLD_ONLY = ("git_commit", "platform")  # of an environment; they change no number

_NEEDED = ("layer", "tests", "no_guided_grad_cam", "inputs", "environment", "digest", "shards")
_idle: list[tuple[tuple[Path, str], Context]] = []


def plan_of(run: Run) -> dict[str, Any]:
    """What was decided before anything is computed: layer, tests, digests, number of shards."""
    return read_json(run.plan, *_NEEDED)


@contextmanager
def planned_context(run: Run) -> Iterator[Context]:
    """The context of a planned run, for one thread at a time.

    Hooks on a model are seen by every thread that runs it, so each thread has a model of its own;
    it is kept for the next caller.

    Raises
    ------
    RunError
        If this process would compute other numbers than the one that planned the run: other code,
        libraries, device or weights.
    """
    decided = plan_of(run)
    key = (run.folder, decided["digest"])
    # Sums are rounded by their number, and each thread of Python has a number of its own.
    torch.set_num_threads(decided["environment"]["threads"])
    context = _taken(key) or _loaded(run)
    try:
        yield context
    finally:
        _idle.append((key, context))


def _taken(key: tuple[Path, str]) -> Context | None:
    """An idle context; those of other runs make room."""
    while _idle:
        try:
            held, context = _idle.pop()
        except IndexError:  # another thread was quicker
            return None
        if held == key:
            return context
    return None


def _loaded(run: Run) -> Context:
    decided = plan_of(run)
    config = run.config()
    context = load_context(config, run)
    now = {
        **unchanging(surroundings(context)),
        "code": code_digest(),
        "weights": weights_digest(context.classifier.module),
    }
    if factory := factory_digest(config.model.architecture):
        now["factory"] = factory
    then = unchanging(decided["environment"])
    then |= {name: decided["inputs"].get(name) for name in ("code", "weights", "factory")}
    if other := changes(then, now):
        here = f"{gethostname()} would compute other numbers than were planned"
        raise RunError(f"{run.folder}: {here}: {', '.join(other)}")
    return replace(
        context,
        layer=decided["layer"],
        tests=decided["tests"],
        guided=decided["no_guided_grad_cam"] is None,
    )


def surroundings(context: Context) -> dict[str, Any]:
    """The environment that a context computes in, with the libraries of its fills."""
    found = environment(context.classifier.device, context.precision)
    found["libraries"] |= fill_versions(context.config.interventions.fills)
    return found


def unchanging(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What of an environment changes the numbers."""
    return {name: value for name, value in environment.items() if name not in TOLD_ONLY}
