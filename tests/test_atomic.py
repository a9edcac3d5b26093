from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audit.atomic import NO_ROOM, remove_folder, replacing, replacing_folder, temporary_name


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".tmp"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_two_writers_share_a_temporary_name(tmp_path: Path) -> None:
    names = {temporary_name(tmp_path / "x") for _ in range(1000)}  # of one process: a pid would not
    assert len(names) == 1000


@pytest.mark.parametrize("replace", [replacing, replacing_folder])
def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: Callable[..., object]
) -> None:
    target, done = tmp_path / "x", []
    sync, rename = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        sync(handle)

    def renamed(path: Path, other: Path) -> Path:
        done.append(f"rename to {other.name}")
        return rename(path, other)

    with replace(target) as temporary:  # type: ignore[attr-defined]
        written = temporary / "inside" / "file" if replace is replacing_folder else temporary
        written.parent.mkdir(exist_ok=True)
        written.write_text("content")
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", renamed)
        own = [f"sync {temporary.name}"]
    inside = ["sync inside", "sync file"] if replace is replacing_folder else []
    assert sorted(done[: len(inside)]) == sorted(inside)
    assert done[len(inside) :] == [*own, "rename to x", f"sync {tmp_path.name}"]


def _write(target: Path, content: str, keep: bool) -> None:
    with replacing_folder(target, keep=lambda there: keep) as temporary:
        (temporary / "file").write_text(content)


@pytest.mark.parametrize(("keep", "left"), [(True, "first"), (False, "second")])
def test_folder_in_the_way_stays_if_it_is_as_good(tmp_path: Path, keep: bool, left: str) -> None:
    target = tmp_path / "x"
    _write(target, "first", keep)
    _write(target, "second", keep)
    assert (target / "file").read_text() == left
    assert list(tmp_path.iterdir()) == [target]


def test_folder_that_fails_half_way_leaves_the_old_one_alone(tmp_path: Path) -> None:
    target = tmp_path / "x"
    _write(target, "old", keep=False)
    with pytest.raises(ValueError, match="no"), replacing_folder(target) as temporary:
        (temporary / "file").write_text("ne")
        raise ValueError("no")
    assert (target / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _bare(path: Path) -> None:
    raise OSError(errno.ENOSPC, "full")


def _hidden_by_torch(path: Path) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.EDQUOT, "full")

        def flush(self) -> None:
            pass

    torch.save({"a": torch.zeros(9)}, Full())


def _told_by_rust(path: Path) -> None:
    raise RuntimeError("Error while serializing: I/O error: File too large (os error 27)")


@pytest.mark.parametrize("fail", [_bare, _hidden_by_torch, _told_by_rust])
def test_want_of_room_is_told_of_the_file_whoever_writes(
    tmp_path: Path, fail: Callable[[Path], None]
) -> None:
    path = tmp_path / "x"
    with pytest.raises(OSError, match="x") as caught, replacing(path) as temporary:
        fail(temporary)
    assert caught.value.filename == str(path)
    assert caught.value.errno in NO_ROOM
    assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="os error 5"), replacing(tmp_path / "x"):
        raise RuntimeError("device (os error 5)")
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "x"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_folder_is_removed_and_what_a_link_leads_to_is_not(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "x", tmp_path / "elsewhere"
    for folder in (target, elsewhere):
        folder.mkdir()
        (folder / "file").write_text("content")
    (target / "link").symlink_to(elsewhere)
    remove_folder(target)
    remove_folder(target)  # none is there
    assert [path.name for path in tmp_path.rglob("*")] == ["elsewhere", "file"]
