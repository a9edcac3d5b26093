from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from audit.config import Audit
from audit.config_file import dump_config
from audit.errors import RunError
from audit.runs import folder as folder_module
from audit.runs import shards
from audit.runs.files import digest_of, file_digest, json_text, read_json, write_json, write_text
from audit.runs.folder import Run, config_digest, start_or_resume, working_on
from audit.runs.record import check_record, rebuilding_report, seal
from audit.tables import ATTENTION, SAMPLES, empty, read_table, write_table


def _config(seed: int = 0, folder: Path | None = None) -> Audit:
    return Audit.model_validate(
        {
            "name": "birds",
            "seed": seed,
            "data": {"root": "/birds", "train": {"split": "train"}},
            "regions": {"source": {"encoding": "codes", "values": {"bird": 1}}},
            "output": {"folder": folder},
        }
    )


def test_unfinished_run_is_resumed_and_a_finished_one_is_not(tmp_path: Path) -> None:
    config = _config(folder=tmp_path)
    first = start_or_resume(config)
    assert start_or_resume(config) == first
    assert start_or_resume(_config(seed=1, folder=tmp_path)) != first
    seal(first)
    second = start_or_resume(config)  # in the same second
    assert second.folder.name > first.folder.name
    assert start_or_resume(config) == second


def _start_in_the_middle_of_another(
    monkeypatch: pytest.MonkeyPatch, ours: Audit, theirs: Audit, out: Path
) -> Run:
    """Start an audit in a folder where another start is quicker by a moment."""

    def quicker(config: Audit) -> str:
        monkeypatch.undo()
        start_or_resume(theirs, out)
        return dump_config(config)

    monkeypatch.setattr(folder_module, "dump_config", quicker)
    return start_or_resume(ours, out)


def test_two_starts_at_once_share_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run = _start_in_the_middle_of_another(monkeypatch, _config(), _config(), out)
    assert run.config() == _config()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    out = tmp_path / "other"
    with pytest.raises(RunError, match="another configuration"):
        _start_in_the_middle_of_another(monkeypatch, _config(), _config(seed=1), out)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "other"}


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=f"{out}: cannot be made"):
            start_or_resume(_config(), out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_run_that_cannot_go_on_is_left_behind_unless_it_is_named(tmp_path: Path) -> None:
    config = _config(folder=tmp_path)
    first = start_or_resume(config, tmp_path / "birds" / f"0-{config_digest(config)[:8]}")
    assert start_or_resume(config) == first
    write_text(first.stale, "data changed")
    assert start_or_resume(config) != first
    assert start_or_resume(config, first.folder) == first


def test_named_folder_must_be_empty_or_of_the_same_audit(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert start_or_resume(_config(), out) == start_or_resume(_config(), out)
    with pytest.raises(RunError, match="another configuration"):
        start_or_resume(_config(seed=1), out)
    with pytest.raises(RunError, match="not empty and no run folder"):
        start_or_resume(_config(), tmp_path)


def test_run_keeps_its_resolved_configuration(tmp_path: Path) -> None:
    config = _config()
    assert start_or_resume(config, tmp_path / "run").config() == config


def test_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        Run(tmp_path).config()


VERDICT_FILES = ("verdict.json", "findings.json", "evidence.parquet", "config.yaml")


def _sealed(folder: Path) -> Run:
    run = Run(folder)
    for name in (*VERDICT_FILES, "report.html", "model/model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / name, "before")
    seal(run)
    return run


def test_record_refuses_a_run_that_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a finished run"):
        check_record(Run(tmp_path))


def test_a_folder_of_runs_is_told_from_a_run(tmp_path: Path) -> None:
    for name in ("20260101T000000-a", "20260102T000000-b"):
        (tmp_path / "demo" / name).mkdir(parents=True)
        _sealed(tmp_path / "demo" / name)
    for folder in (tmp_path, tmp_path / "demo"):
        with pytest.raises(RunError, match=r"did you mean .*demo/20260102T000000-b"):
            check_record(Run(folder))


@pytest.mark.parametrize("name", [*VERDICT_FILES, "report.html", "model/model.safetensors"])
def test_record_refuses_any_altered_file(tmp_path: Path, name: str) -> None:
    run = _sealed(tmp_path)
    check_record(run)
    write_text(run.folder / name, "forged")
    with pytest.raises(RunError, match=f"{name}: altered"):
        check_record(run)


@pytest.mark.parametrize("name", VERDICT_FILES)
def test_record_needs_the_files_of_the_verdict(tmp_path: Path, name: str) -> None:
    run = _sealed(tmp_path)
    (run.folder / name).unlink()
    with pytest.raises(RunError, match=f"{name}: missing from the run"):
        check_record(run)
    with pytest.raises(RunError, match=f"{name}: missing from the run"), rebuilding_report(run):
        pass
    seal(run)  # the record knows nothing of it
    write_text(run.folder / name, "forged")
    with pytest.raises(RunError, match=f"{name}: missing from the run"):
        check_record(run)


def test_record_takes_a_copy_without_the_weights(tmp_path: Path) -> None:
    run = _sealed(tmp_path)
    (run.model / "model.safetensors").unlink()
    check_record(run)


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": []}', "null"])
def test_record_of_another_shape_is_named(tmp_path: Path, content: str) -> None:
    run = _sealed(tmp_path)
    write_text(run.record, content)
    with pytest.raises(RunError, match=r"record\.json: must be a JSON object with the key 'files'"):
        check_record(run)
    with pytest.raises(RunError, match=r"record\.json: must be"), rebuilding_report(run):
        pass


def test_record_leaves_out_working_folders(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for path in (run.plan, run.shards / "a" / "b.parquet", run.model / "model.safetensors"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "x")
    seal(run)
    assert list(read_json(run.record)["files"]) == ["model/model.safetensors"]


def test_one_file_is_resealed_and_no_other_may_be_altered(tmp_path: Path) -> None:
    run = _sealed(tmp_path)
    with rebuilding_report(run):
        write_text(run.report, "after")
    check_record(run)
    write_text(run.verdict, "forged")
    with pytest.raises(RunError, match="altered"), rebuilding_report(run):
        pass


@pytest.mark.parametrize("content", ["[]", "{}", "1"])
def test_identity_of_another_shape_is_named(tmp_path: Path, content: str) -> None:
    run = start_or_resume(_config(), tmp_path / "run")
    write_text(run.identity, content)
    with pytest.raises(RunError, match=r"run\.json: must be a JSON object with the key"):
        start_or_resume(_config(), run.folder)


def test_a_start_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    run = start_or_resume(_config(), tmp_path / "run")
    leftover = run.folder / ".samples.parquet.1.tmp"
    leftover.write_text("half")
    with working_on(run):
        assert not leftover.exists()


def test_json_is_whole_sorted_and_never_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None], "b": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(RunError, match="not readable as JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(RunError, match="missing"):
        read_json(tmp_path / "none.json")
    with pytest.raises(RunError, match="with the keys 'b', 'c'"):
        read_json(tmp_path / "a.json", "b", "c")
    for content in ("[]", "NaN", '{"a": NaN}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(RunError, match=r"bad\.json"):
            read_json(tmp_path / "bad.json")


def test_digests_depend_on_content_only(tmp_path: Path) -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    for name in ("x", "y"):
        (tmp_path / name).write_bytes(b"same")
    assert file_digest(tmp_path / "x") == file_digest(tmp_path / "y")


def _attention(sample_id: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [sample_id],
            "method": "grad-cam",
            "explained": "true",
            "target_class": "c",
            "region": "r",
            "share": 0.5,
            "area": 0.5,
            "rho": 1.0,
            "pointing": 0.0,
            "dead": False,
            "measurable": True,
        }
    )


def test_shards_merge_in_order(tmp_path: Path) -> None:
    folders = [shards.shard_folder(tmp_path, "d" * 64, i) for i in range(3)]
    for i, folder in enumerate(folders):
        shards.write_shard(folder, {"attention": _attention(f"s{i}")})
    shards.merge_shards(folders, ATTENTION, tmp_path / "attention.parquet")
    merged = read_table(tmp_path / "attention.parquet", ATTENTION)
    assert merged["sample_id"].tolist() == ["s0", "s1", "s2"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_shard_that_fails_half_way_does_not_exist(tmp_path: Path) -> None:
    folder = shards.shard_folder(tmp_path, "d" * 64, 0)
    with pytest.raises(ValueError, match="unknown columns"):
        shards.write_shard(
            folder, {"attention": _attention("s0"), "samples": pd.DataFrame({"x": []})}
        )
    assert not folder.exists()
    shards.write_shard(folder, {"attention": _attention("s0")})
    assert folder.is_dir()


@pytest.mark.parametrize("damaged", [False, True])
def test_of_two_workers_that_finish_a_shard_at_once_both_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    folder = shards.shard_folder(tmp_path, "d" * 64, 0)
    written = []

    def another_is_quicker(digests: object) -> str:
        monkeypatch.undo()
        shards.write_shard(folder, {"attention": _attention("s0")})
        written.append((folder / "attention.parquet").stat().st_ino)
        if damaged:
            _cut(folder / "attention.parquet")
        return json_text(digests)

    monkeypatch.setattr(shards, "json_text", another_is_quicker)
    shards.write_shard(folder, {"attention": _attention("s0")})
    assert shards.is_whole(folder)
    assert ((folder / "attention.parquet").stat().st_ino in written) is not damaged
    assert not list(tmp_path.rglob("*.tmp"))


def test_many_workers_that_finish_a_shard_at_once_all_succeed(tmp_path: Path) -> None:
    folder = shards.shard_folder(tmp_path, "d" * 64, 0)

    def write(_: int) -> bool:
        shards.write_shard(folder, {"attention": _attention("s0")})
        return shards.is_whole(folder)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(64)))
    assert not list(tmp_path.rglob("*.tmp"))


def test_merging_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folders = [shards.shard_folder(tmp_path, "d" * 64, i) for i in range(2)]
    for folder in folders:
        shards.write_shard(folder, {"attention": _attention("s0")})
    (folders[1] / "attention.parquet").write_bytes(b"PAR1")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(pa.ArrowInvalid):
        shards.merge_shards(folders, ATTENTION, tmp_path / "attention.parquet")
    assert sorted(tmp_path.rglob("*")) == before


def _gone(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _forged(path: Path) -> None:
    write_table(_attention("forged"), ATTENTION, path)


def _unlisted(path: Path) -> None:
    (path.parent / "digests.json").unlink()


def _emptied(path: Path) -> None:
    path.unlink()
    write_json(path.parent / "digests.json", {})


@pytest.mark.parametrize("spoil", [_gone, _cut, _forged, _unlisted, _emptied])
def test_a_shard_is_believed_only_as_it_was_written(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = shards.shard_folder(tmp_path, "d" * 64, 0)
    assert not shards.is_whole(folder)
    shards.write_shard(folder, {"attention": _attention("s0")})
    assert shards.is_whole(folder)
    spoil(folder / "attention.parquet")
    assert not shards.is_whole(folder)
    shards.write_shard(folder, {"attention": _attention("s0")})  # takes its place
    assert shards.is_whole(folder)


def test_table_read_back_is_the_table_written(tmp_path: Path) -> None:
    frame = empty(SAMPLES, ["gender", 'a"b</script>'])
    write_table(frame, SAMPLES, tmp_path / "samples.parquet")
    back = read_table(tmp_path / "samples.parquet", SAMPLES)
    pd.testing.assert_frame_equal(back, frame)
    with pytest.raises(RunError, match="no such table"):
        read_table(tmp_path / "none.parquet", SAMPLES)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="not a readable Parquet"):
        read_table(tmp_path / "broken.parquet", SAMPLES)
    with pytest.raises(RunError, match=r"column\(s\) missing"):
        read_table(tmp_path / "samples.parquet", ATTENTION)
