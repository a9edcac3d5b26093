from __future__ import annotations

from pathlib import Path

import pytest

from reports.build import build_report
from tests.reports.factory import HOSTILE, make_run


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run that fails."""
    return build_report(make_run(tmp_path_factory.mktemp("fail") / "run", "FAIL"))


@pytest.fixture(scope="session")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run that passes."""
    return build_report(make_run(tmp_path_factory.mktemp("pass") / "run", "PASS"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run whose classes and attribute have hostile names."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    return build_report(make_run(folder, "FAIL", labels=tuple(HOSTILE), attribute=HOSTILE[0]))
