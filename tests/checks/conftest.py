from __future__ import annotations

import pytest

from audit import steps
from audit.config_file import load_config
from audit.context import Context, load_context
from audit.runs.folder import Run, start_or_resume
from tests.tiny import write_tiny


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny audit on twice its size (an 8 x 8 grid), trained and planned."""
    folder = tmp_path_factory.mktemp("checks")
    settings = {"model.input.size": "[64, 64]", "model.train.epochs": "8"}
    run = start_or_resume(load_config(write_tiny(folder / "data"), settings), folder / "run")
    steps.prepare(run)
    steps.fit(run)
    steps.plan(run)
    return run


@pytest.fixture(scope="session")
def context(planned: Run) -> Context:
    return load_context(planned.config(), planned)
