from __future__ import annotations

from dataclasses import replace

import pytest

from audit import steps
from audit.config_file import load_config
from audit.context import Context, load_context
from audit.runs.folder import start_or_resume
from tests.tiny import write_tiny


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The tiny audit on twice its size (an 8 x 8 grid), with a model trained for it."""
    folder = tmp_path_factory.mktemp("checks")
    settings = {"model.input.size": "[64, 64]", "model.train.epochs": "8"}
    run = start_or_resume(load_config(write_tiny(folder / "data"), settings), folder / "run")
    steps.prepare(run)
    steps.fit(run)
    steps.plan(run)
    loaded = load_context(run.config(), run)
    return replace(loaded, tests={})
