from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from audit.data import copies
from audit.data.copies import Store, compare_anew, store_of
from audit.errors import DataError


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A place in memory, and a cache of its own."""
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path))
    monkeypatch.setattr(copies, "WAITS", (0.0, 0.0))
    compare_anew()
    system = fsspec.filesystem("memory")
    system.pipe_file("/place/a/x.png", b"first")
    yield system
    system.store.clear()
    compare_anew()


@pytest.fixture
def place(memory: Any) -> Store:
    return store_of("memory://place")


def count(monkeypatch: pytest.MonkeyPatch, memory: Any, name: str) -> list[str]:
    """The paths that a method of the file system is called with."""
    called: list[str] = []
    before = getattr(type(memory), name)

    def counted(self: Any, path: str, *more: Any, **options: Any) -> Any:
        called.append(path)
        return before(self, path, *more, **options)

    monkeypatch.setattr(type(memory), name, counted)
    return called


def test_a_file_is_fetched_once_and_compared_once(
    memory: Any, place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = count(monkeypatch, memory, "get_file")
    assert place.copy_of("a/x.png").read_bytes() == b"first"
    asked = count(monkeypatch, memory, "info")
    wait_a_tick(place)
    os.utime(place.copy_of("a/x.png"))
    asked.clear()
    for _ in range(3):
        assert place.copy_of("a/x.png").read_bytes() == b"first"
    assert len(fetched) == 1
    assert not asked
    compare_anew()
    assert store_of("memory://place").copy_of("a/x.png").read_bytes() == b"first"
    assert asked
    assert len(fetched) == 1


def wait_a_tick(place: Store) -> None:
    """Until the clock of the folder has moved on."""
    while copies._now(place.folder) <= place.since:
        pass


def test_another_process_never_uses_a_stale_copy(memory: Any, place: Store) -> None:
    """What a process compared is used by it; one that starts later compares again."""
    wait_a_tick(place)
    old = place.copy_of("a/x.png")
    memory.pipe_file("/place/a/x.png", b"other")  # of the same size
    assert place.copy_of("a/x.png") == old
    compare_anew()
    wait_a_tick(place)
    later = store_of("memory://place")
    assert later.copy_of("a/x.png").read_bytes() == b"other"
    assert not old.exists()
    memory.rm_file("/place/a/x.png")
    compare_anew()
    with pytest.raises(FileNotFoundError):
        store_of("memory://place").copy_of("a/x.png")


def test_a_place_that_tells_neither_checksum_nor_time_is_fetched_anew(
    memory: Any, place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_MARKS", ())
    fetched = count(monkeypatch, memory, "get_file")
    for _ in range(2):
        compare_anew()
        wait_a_tick(place)
        assert store_of("memory://place").copy_of("a/x.png").read_bytes() == b"first"
    assert len(fetched) == 2


def test_a_file_that_changes_while_it_is_fetched_is_fetched_again(
    memory: Any, place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = type(memory).get_file

    def changing(self: Any, path: str, target: str) -> None:
        before(self, path, target)
        if Path(target).read_bytes() == b"first":
            self.pipe_file(path, b"second")

    monkeypatch.setattr(type(memory), "get_file", changing)
    assert place.copy_of("a/x.png").read_bytes() == b"second"


@pytest.mark.parametrize(
    "error", [ConnectionError("reset"), TimeoutError("slow"), OSError(errno.EBUSY, "SlowDown")]
)
def test_a_fault_of_the_network_is_tried_again_and_blames_no_file(
    memory: Any, place: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fails = [error] * 2
    before = type(memory).info

    def failing(self: Any, path: str, **options: Any) -> Any:
        if fails:
            raise fails.pop()
        return before(self, path, **options)

    monkeypatch.setattr(type(memory), "info", failing)
    assert place.copy_of("a/x.png").read_bytes() == b"first"
    fails += [error] * 9
    with pytest.raises(DataError) as told:
        place.copy_of("a/y.png")
    assert len(fails) == 9 - len(copies.WAITS) - 1
    for part in ("memory://place", "'a/y.png'", "start the run again"):
        assert part in str(told.value)
    assert "\n" not in str(told.value)


def test_refused_access_is_told_at_once(
    memory: Any, place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(self: Any, path: str, **options: Any) -> Any:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(memory), "info", refusing)
    monkeypatch.setattr(copies, "WAITS", (1e6,))
    with pytest.raises(DataError, match="credentials must allow to read and to list"):
        place.copy_of("a/x.png")


@pytest.mark.parametrize("key", ["a", "a/none.png", "a/x.png/y", "x" * 2000])
def test_what_is_no_file_is_missing(place: Store, key: str) -> None:
    with pytest.raises((FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        place.copy_of(key)


def test_threads_that_want_one_file_all_get_it_whole(memory: Any, place: Store) -> None:
    content = os.urandom(1 << 20)
    memory.pipe_file("/place/big.bin", content)
    gate = threading.Barrier(8)

    def read(_: int) -> bytes:
        gate.wait()
        return place.copy_of("big.bin").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert all(found == content for found in pool.map(read, range(8)))
    left = [path.name for path in place.folder.rglob("*") if path.name.endswith(".tmp")]
    assert not left


def test_a_part_of_a_file_is_never_kept(
    memory: Any, place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Any, path: str, target: str) -> None:
        Path(target).write_bytes(b"fir")

    monkeypatch.setattr(type(memory), "get_file", cut)
    with pytest.raises(DataError, match="came in part"):
        place.copy_of("a/x.png")
    assert not [path for path in place.folder.rglob("*") if path.is_file()]


def test_what_a_killed_process_left_goes_and_work_of_others_stays(
    memory: Any, place: Store
) -> None:
    folder = place.copy_of("a/x.png").parent
    (folder / ".killed.tmp").touch()
    (folder / ".at-work.tmp").touch()
    os.utime(folder / ".killed.tmp", (0, 0))
    memory.pipe_file("/place/a/x.png", b"second")
    compare_anew()
    store_of("memory://place").copy_of("a/x.png")
    assert not (folder / ".killed.tmp").exists()
    assert (folder / ".at-work.tmp").exists()


def test_copies_are_for_their_owner_only(place: Store) -> None:
    assert place.folder.stat().st_mode & 0o077 == 0


def test_keys_are_those_of_the_place_alone(memory: Any, place: Store) -> None:
    memory.pipe_file("/place-of-others/b.png", b"")
    memory.pipe_file("/place/b.png", b"")
    assert place.keys() == ["a/x.png", "b.png"]
    with pytest.raises(DataError, match="no such folder, or an empty one: memory://nowhere"):
        store_of("memory://nowhere").keys()


def test_a_missing_library_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(url: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    compare_anew()
    monkeypatch.setattr(fsspec.core, "url_to_fs", lacking)
    with pytest.raises(DataError, match=r"s3:// needs a library: pip install 'cuecheck\[s3\]'"):
        store_of("s3://bucket/scans")
