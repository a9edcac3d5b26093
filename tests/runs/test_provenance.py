from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from audit.runs.provenance import code_digest, factory_digest, git_commit


def _sources(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_code_digest_tells_contents_and_names_apart_and_nothing_else(tmp_path: Path) -> None:
    digest = code_digest(_sources(tmp_path / "a", one="x = 1", data__two="y = 2"))
    same = _sources(tmp_path / "b", one="x = 1", data__two="y = 2")
    (same / "notes.txt").write_text("no code")
    assert code_digest(same) == digest
    assert code_digest(_sources(tmp_path / "c", one="x = 2", data__two="y = 2")) != digest
    assert code_digest(_sources(tmp_path / "d", two="x = 1", data__two="y = 2")) != digest
    assert code_digest(_sources(tmp_path / "e", one="x = 1")) != digest


def test_code_is_that_of_the_package() -> None:
    import audit

    assert code_digest() == code_digest(Path(audit.__file__).parent)


def test_code_of_a_factory_is_told_where_it_can_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sources(tmp_path / "own", cuecheck_nets="def make(): ...")
    monkeypatch.syspath_prepend(tmp_path / "own")
    importlib.import_module("cuecheck_nets")
    before = factory_digest("cuecheck_nets:make")
    (tmp_path / "own" / "cuecheck_nets.py").write_text("def make(): return 1")
    assert before
    assert factory_digest("cuecheck_nets:make") == before  # what was imported still runs
    monkeypatch.delitem(sys.modules, "cuecheck_nets")
    importlib.invalidate_caches()
    importlib.import_module("cuecheck_nets")
    assert factory_digest("cuecheck_nets:make") not in (None, before)
    assert factory_digest("sys:exit") is None  # no file
    assert factory_digest("nowhere:make") is None
    assert factory_digest("small-cnn") is None


def test_commit_says_whether_the_tree_was_dirty(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("x = 1")
    assert git_commit(file) is None

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert git_commit(file) is None
    git("add", "code.py")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "one")
    git("tag", "v1")
    clean = git_commit(file)
    assert clean
    assert len(clean) == 40
    file.write_text("x = 2")
    assert git_commit(file) == f"{clean}-dirty"
