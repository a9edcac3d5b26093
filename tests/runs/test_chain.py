"""A run's record, the chain of records, and their signature: what was altered is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from audit.errors import ConfigError, RunError
from audit.runs.chain import Link, previous_link, record_digest
from audit.runs.files import file_digest, read_json, write_json, write_text
from audit.runs.folder import Run
from audit.runs.record import NEEDED, rebuilding_report, seal
from audit.runs.signature import check_signature, sign_run
from audit.runs.verify import Verification, verify_run

TODAY = date(2026, 3, 1)


def _run(folder: Path, audit: str = "birds", kept: str | None = None) -> Run:
    folder.mkdir(parents=True)
    run = Run(folder)
    for name in (*NEEDED, "report.html", "maps.parquet"):
        write_text(folder / name, f"{name} of {folder.name}")
    write_json(run.provenance, {"audit": audit, "keep_until": kept})
    seal(run)
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Three runs of one audit, sealed in turn; their names are in another order."""
    return [_run(tmp_path / name) for name in ("c", "a", "b")]


def _told(run: Run, **options: bool) -> Verification:
    return verify_run(run, TODAY, **options)


def test_each_record_names_the_one_sealed_before(runs: list[Run]) -> None:
    first, second, third = runs
    assert previous_link(first) is None
    assert previous_link(second) == Link("c", file_digest(first.record))
    assert previous_link(third) == Link("a", file_digest(second.record))
    assert _told(third).right == [
        "record: 7 files are as sealed",
        "chain: a, which b names, is as sealed",
        "chain: c, which a names, is as sealed",
    ]
    assert _told(third, whole_chain=True).faults == []
    assert _told(first).notes == [
        "signature: none",
        "chain: begins with this run, which names no earlier one",
        "keep until: no date is set (output.retention_days)",
    ]


def test_runs_of_other_audits_and_open_or_broken_ones_are_passed_over(tmp_path: Path) -> None:
    first = _run(tmp_path / "first")
    _run(tmp_path / "other", audit="cats")
    (tmp_path / "open").mkdir()
    _run(tmp_path / "broken").record.write_text("{")
    old = _run(tmp_path / "old")
    write_json(old.record, {"files": read_json(old.record)["files"]})  # of an earlier version
    assert previous_link(_run(tmp_path / "next")) == Link("first", file_digest(first.record))


def _forge(run: Run) -> None:
    write_text(run.verdict, "forged")


def _forge_and_seal(run: Run) -> None:
    """As somebody would who can write to the folder and knows how records are made."""
    record = read_json(run.record)
    write_text(run.verdict, "forged")
    record["files"]["verdict.json"] = file_digest(run.verdict)
    write_json(run.record, record)


def _forge_as_if_built_again(run: Run) -> None:
    before = read_json(run.record)["files"]["verdict.json"]
    _forge_and_seal(run)
    write_json(run.record, {**read_json(run.record), "rebuilt": {"verdict.json": before}})


def _forge_beside_the_report(run: Run) -> None:
    with rebuilding_report(run):
        write_text(run.report, "after")
    _forge_and_seal(run)


def _cut_off(run: Run) -> None:
    write_json(run.record, {**read_json(run.record), "previous": None})


def _spoil(run: Run) -> None:
    run.record.write_text("{")


@pytest.mark.parametrize(
    "spoil",
    [_forge, _forge_and_seal, _forge_as_if_built_again, _forge_beside_the_report, _cut_off, _spoil],
)
def test_an_altered_earlier_run_is_told(runs: list[Run], spoil: Callable[[Run], None]) -> None:
    spoil(runs[1])
    (fault,) = _told(runs[2]).faults
    assert "a" in fault
    assert "altered" in fault or "built again" in fault or "record.json" in fault


def test_every_altered_link_is_told(runs: list[Run]) -> None:
    _forge(runs[0])
    _forge_and_seal(runs[1])
    faults = _told(runs[2]).faults
    assert [fault.split(",")[0] for fault in faults] == ["chain: a", "chain: c"]


def test_a_missing_run_ends_the_chain(runs: list[Run]) -> None:
    shutil.rmtree(runs[1].folder)
    missing = "chain: a, which b names, is missing; earlier runs cannot be checked"
    found = _told(runs[2])
    assert missing in found.notes
    assert found.faults == []
    assert _told(runs[2], whole_chain=True).faults == [missing]


@pytest.mark.parametrize("name", ["../elsewhere", "..", "", "/etc", "a\\b", "a\0"])
def test_a_link_leads_to_no_other_folder(runs: list[Run], name: str) -> None:
    record = read_json(runs[2].record)
    write_json(runs[2].record, {**record, "previous": {"run": name, "sha256": "0" * 64}})
    (fault,) = _told(runs[2]).faults
    assert "'previous' leads elsewhere" in fault


@pytest.mark.parametrize("link", [1, [], {}, {"run": "a"}])
def test_a_link_of_another_shape_is_named(runs: list[Run], link: object) -> None:
    write_json(runs[2].record, {**read_json(runs[2].record), "previous": link})
    (fault,) = _told(runs[2]).faults
    assert "is no link to a run" in fault


def test_a_circle_ends(runs: list[Run]) -> None:
    record = read_json(runs[0].record)
    write_json(runs[0].record, {**record, "previous": {"run": "b", "sha256": "0" * 64}})
    assert any("leads in a circle" in fault for fault in _told(runs[2]).faults)


def test_the_report_may_be_built_again(runs: list[Run]) -> None:
    first, second, third = runs
    sealed = file_digest(second.record)
    for text in ("after", "later", "report.html of a"):  # the last as it was
        with rebuilding_report(second):
            write_text(second.report, text)
        assert record_digest(second) == sealed
        assert file_digest(second.record) != sealed
        assert _told(third).faults == []
    assert "record: report.html was built again since" in _told(second).notes
    with rebuilding_report(first):  # the same again is no change
        pass
    assert "rebuilt" not in read_json(first.record)
    write_text(second.report, "forged")
    assert "report.html: altered" in _told(third).faults[0]


def test_what_is_left_behind_or_added_is_told(runs: list[Run]) -> None:
    run = runs[2]
    (run.folder / "maps.parquet").unlink()
    write_text(run.folder / "notes.txt", "mine")
    found = _told(run)
    assert found.faults == []
    assert "record: left behind, as when a run is copied: maps.parquet" in found.notes
    assert "record: nobody answers for what is not in it: notes.txt" in found.notes
    run.verdict.unlink()
    assert "verdict.json: missing" in _told(run).faults[0]


def test_an_unfinished_folder_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=r"not a finished run|no such run folder"):
            verify_run(Run(folder), TODAY)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("2026-03-31", "keep until: 2026-03-31 (30 days on)"),
        ("2026-03-01", "keep until: 2026-03-01 (0 days on)"),
        ("2026-02-28", "keep until: 2026-02-28 (it is past)"),
    ],
)
def test_it_is_told_how_long_to_keep_a_run(tmp_path: Path, kept: str, told: str) -> None:
    run = _run(tmp_path / "run", kept=kept)
    assert told in _told(run).notes
    write_json(run.record, {**read_json(run.record), "keep_until": "soon"})
    assert "'keep_until' is no date" in _told(run).faults[0]


@pytest.mark.parametrize("name", ["/etc/hostname", "../other/verdict.json", "a/../../b", "a\0"])
def test_a_record_names_nothing_outside_the_run(runs: list[Run], name: str) -> None:
    record = read_json(runs[0].record)
    write_json(runs[0].record, {**record, "files": record["files"] | {name: "0" * 64}})
    assert "names a file outside the run" in _told(runs[0]).faults[0]


def _pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Two pairs, and one of another kind."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("own", "other"):
        key = ed25519.Ed25519PrivateKey.generate()
        (folder / f"{name}.pem").write_bytes(_pem(key))
        (folder / f"{name}.pub").write_bytes(_public_pem(key))
    curve = ec.generate_private_key(ec.SECP256R1())
    (folder / "curve.pem").write_bytes(_pem(curve))
    (folder / "curve.pub").write_bytes(_public_pem(curve))
    return folder


def _signature_faults(run: Run, key: Path) -> list[str]:
    return verify_run(run, TODAY, public_key=key).faults


def test_a_signature_holds_for_its_key_and_its_record_alone(runs: list[Run], keys: Path) -> None:
    run, own = runs[2], keys / "own.pub"
    (fault,) = _signature_faults(run, own)
    assert "record.sig: missing; the run is not signed" in fault
    sign_run(run, keys / "own.pem")
    assert _signature_faults(run, own) == []
    assert f"signature: by the key {own}" in verify_run(run, TODAY, public_key=own).right
    assert "signature: not looked at without --public-key" in _told(run).notes
    assert "not the signature of this record" in _signature_faults(run, keys / "other.pub")[0]
    _forge_and_seal(run)
    assert _told(run).faults == []  # the record alone does not show it
    assert "not the signature of this record" in _signature_faults(run, own)[0]


@pytest.mark.parametrize("content", [b"", b"x", b"0" * 64, b"0" * 65])
def test_what_is_no_signature_is_refused(runs: list[Run], keys: Path, content: bytes) -> None:
    runs[0].signature.write_bytes(content)
    assert "not the signature of this record" in _signature_faults(runs[0], keys / "own.pub")[0]


def test_a_signature_of_another_run_is_refused(runs: list[Run], keys: Path) -> None:
    sign_run(runs[0], keys / "own.pem")
    shutil.copy(runs[0].signature, runs[1].signature)
    assert "not the signature of this record" in _signature_faults(runs[1], keys / "own.pub")[0]


@pytest.mark.parametrize("name", ["own.pem", "curve.pub", "none.pub", "empty.pub"])
def test_what_is_no_public_key_is_refused(runs: list[Run], keys: Path, name: str) -> None:
    (keys / "empty.pub").write_bytes(b"")
    sign_run(runs[0], keys / "own.pem")
    (fault,) = _signature_faults(runs[0], keys / name)
    assert name in fault


@pytest.mark.parametrize("name", ["own.pub", "curve.pem", "locked.pem", "empty.pem"])
def test_what_is_no_private_key_signs_nothing(runs: list[Run], keys: Path, name: str) -> None:
    (keys / "empty.pem").write_bytes(b"")
    (keys / "locked.pem").write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match=name):
        sign_run(runs[0], keys / name)
    assert not runs[0].signature.exists()


def test_the_private_key_stays_out_of_the_run(runs: list[Run], keys: Path) -> None:
    run = runs[0]
    sign_run(run, keys / "own.pem")
    secret = (keys / "own.pem").read_bytes().splitlines()[1]
    assert all(secret not in path.read_bytes() for path in run.folder.rglob("*") if path.is_file())
    inside = run.folder / "own.pem"
    shutil.copy(keys / "own.pem", inside)
    with pytest.raises(RunError, match="lies in the run"):
        sign_run(run, inside)


def test_only_a_finished_and_unaltered_run_is_signed(runs: list[Run], keys: Path) -> None:
    _forge(runs[0])
    with pytest.raises(RunError, match=r"verdict\.json: altered"):
        sign_run(runs[0], keys / "own.pem")
    runs[1].record.unlink()
    with pytest.raises(RunError, match="not a finished run"):
        sign_run(runs[1], keys / "own.pem")


def test_signing_again_replaces_the_signature(runs: list[Run], keys: Path) -> None:
    run = runs[0]
    for name in ("own", "other"):
        sign_run(run, keys / f"{name}.pem")
        check_signature(run, keys / f"{name}.pub")
    assert _told(run).faults == []  # the record covers no signature
