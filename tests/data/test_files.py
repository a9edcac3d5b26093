"""No path leaves the data root, on disk or behind a URL; elsewhere: tests/test_security.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from audit.data.copies import compare_anew
from audit.data.files import Files, files_of
from audit.data.reasons import Kind
from audit.errors import BadSample, DataError

INSIDE = {"sub/x.png": b"x", "y.png": b"y", "sub/manifest.csv": b"m"}


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Files]]:
    """The same files on disk and in memory, with a secret beside each root."""
    monkeypatch.setenv("CUECHECK_CACHE", str(tmp_path / "cache"))
    compare_anew()
    memory = fsspec.filesystem("memory")
    for name, content in {**{f"root/{n}": c for n, c in INSIDE.items()}, "secret": b"s"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        memory.pipe_file(f"/files/{name}", content)
    yield {"local": files_of(tmp_path / "root"), "remote": files_of("memory://files/root")}
    memory.store.clear()
    compare_anew()


def reason(files: Files, path: str) -> str:
    with pytest.raises(BadSample) as told:
        files.find(path, Kind.MISSING_IMAGE)
    return str(told.value)


@pytest.mark.parametrize(
    "path",
    ["x.png", "./x.png", "../y.png", "../sub/x.png", "none/../x.png", "../../root/y.png"],
)
def test_both_find_the_same_files(roots: dict[str, Files], path: str) -> None:
    found = []
    for files in roots.values():
        inside = files.beside("sub/manifest.csv")
        assert inside.at_root().find("y.png", Kind.MISSING_IMAGE).read_bytes() == b"y"
        try:
            found.append(inside.find(path, Kind.MISSING_IMAGE).read_bytes())
        except BadSample as error:
            found.append(str(error).encode())
        assert inside.from_root("x.png") == "sub/x.png"
    # On disk the root's own name is known; behind a URL what climbs out is out.
    if path == "../../root/y.png":
        assert found == [b"y", f"outside the data root: '{path}'".encode()]
    else:
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "path", ["", "a\0b", "none.png", "sub", ".", "a" * 5000, "s/../none.png", "sub/x.png/z"]
)
def test_both_give_the_same_reason_for_what_is_missing(roots: dict[str, Files], path: str) -> None:
    reasons = {reason(files, path) for files in roots.values()}
    assert len(reasons) == 1
    assert reasons.pop().startswith("missing image: ")


@pytest.mark.parametrize("path", ["../secret", "sub/../../secret", "/secret", "//secret", ".."])
def test_both_refuse_what_lies_outside(roots: dict[str, Files], path: str) -> None:
    for files in roots.values():
        assert reason(files, path) == f"outside the data root: '{path}'"


@pytest.mark.parametrize(
    "path",
    [
        "..\\secret",
        "sub\\..\\..\\secret",
        "\\secret",
        "%2e%2e/secret",
        "%252e%252e%252fsecret",
        "..%2fsecret",
        "..%5csecret",
        "memory://files/secret",
        "s3://other/secret",
    ],
)
def test_a_url_is_left_by_no_other_spelling(roots: dict[str, Files], path: str) -> None:
    assert reason(roots["remote"], path) == f"outside the data root: '{path}'"


def test_a_table_lies_in_the_root_and_is_named_by_it(
    roots: dict[str, Files], tmp_path: Path
) -> None:
    shown = {"local": str(tmp_path / "root"), "remote": "memory://files/root"}
    for name, files in roots.items():
        assert files.table("sub/manifest.csv", "data.manifest").read_bytes() == b"m"
        for table, fault in (("none.csv", "no such file"), ("../secret", "lies outside data.root")):
            with pytest.raises(DataError) as told:
                files.table(table, "data.manifest")
            assert str(told.value) == f"data.manifest: {fault}: {shown[name]}/{table}"


def test_a_root_that_is_no_folder_is_told(tmp_path: Path) -> None:
    for root in (None, tmp_path / "none", Path("a" * 5000)):
        with pytest.raises(DataError, match=r"data\.root: no such folder"):
            files_of(root)
