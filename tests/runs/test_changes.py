from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import RunError
from audit.runs.changes import changes, refuse
from audit.runs.files import write_json
from audit.runs.folder import Run


def test_changes_name_key_and_values() -> None:
    before = {"threads": 1, "libraries": {"torch": "2.6", "numpy": "2.0"}, "weights": "a" * 64}
    assert changes(before, before) == []
    now = {"threads": 2, "libraries": {"torch": "2.7", "numpy": "2.0"}, "weights": "b" * 64}
    assert changes(before, now) == [
        "libraries.torch: 2.6, now 2.7",
        "threads: 1, now 2",
        "weights: aaaaaaaa, now bbbbbbbb",
    ]
    assert changes({}, {"code": "c" * 64}) == ["code: None, now cccccccc"]


def test_an_unfinished_run_is_left_behind_and_a_finished_one_stays(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.stale.parent.mkdir()
    with pytest.raises(RunError, match=r"threads: 1, now 2; the same command starts a new run"):
        refuse(run, ["threads: 1, now 2"])
    assert run.stale.is_file()
    run.stale.unlink()
    write_json(run.record, {"files": {}})
    with pytest.raises(RunError, match=r"threads: 1, now 2; delete that folder or choose another"):
        refuse(run, ["threads: 1, now 2"])
    assert not run.stale.exists()
