"""The command fails closed: of everything that can be wrong with its inputs, nothing exits 0."""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from audit.config_file import SHIPPED
from audit.gate.findings import fingerprint
from audit.judgement import today
from audit.runs.files import file_digest, read_json, write_json
from audit.runs.folder import Run
from audit.runs.record import digests, seal
from audit.tables import (
    ATTENTION,
    EVIDENCE,
    INTERVENTIONS,
    SAMPLES,
    Table,
    empty,
    read_table,
    write_table,
)
from flows import cli
from flows.gate import STEP_SUMMARY, STEP_SUMMARY_BYTES
from tests.gate.runs import write_run
from tests.tiny import write_tiny

Gate = Callable[..., int]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that passes, one that rests on hair, and a worse one; to be copied."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "weights").write_bytes(b"weights")
    (folder / "manifest.csv").write_text("path,label\n")
    tell_provenance(write_run(folder / "clean", model={"checkpoint": "weights"}))
    write_run(folder / "biased", hair=0.4)
    write_run(folder / "worse", hair=0.75, seed=5)
    return folder


def tell_provenance(run: Run, **changes: Any) -> None:
    """Say, and seal, that the weights and the manifest beside the run were audited today."""
    beside = run.folder.parent
    hashes = {
        "checkpoint": file_digest(beside / "weights"),
        "manifest": file_digest(beside / "manifest.csv"),
        "data": "d" * 64,
    }
    told = {"sha256": hashes, "finished": datetime.now(UTC).isoformat()} | changes
    write_json(run.provenance, told)
    _seal_again(run)


def _seal_again(run: Run) -> None:
    """The record as somebody would forge it who knows how it is made."""
    write_json(run.record, {**read_json(run.record), "files": digests(run)})


@dataclass(frozen=True)
class Place:
    """A folder with copies of the three runs, and what the command is called with."""

    folder: Path

    def run(self, name: str = "clean") -> Run:
        return Run(self.folder / name)

    def file(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def policy(self, **policy: Any) -> Path:
        rules = {"policy": policy, "statistics": {"resamples": 99}}
        return self.file("policy.yaml", yaml.safe_dump(rules))

    def waivers(self, *changes: dict[str, Any], classes: str = "doctor nurse") -> Path:
        """Valid waivers for what ``biased`` is confirmed to do, then changed."""
        entries = [
            {
                "fingerprint": fingerprint("planted", "hair", target, "removal"),
                "reason": "Known.", "owner": "ana", "created": today(), "max_effect": 0.6,
            }
            for target in classes.split()
        ]  # fmt: skip
        for change in changes:
            entries = [
                {key: value for key, value in {**entry, **change}.items() if value is not ...}
                for entry in entries
            ]
        return self.file("waivers.yaml", yaml.safe_dump({"waivers": entries}))


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Place:
    shutil.copytree(made, tmp_path / "runs")
    return Place(tmp_path / "runs")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The command's exit code, in this process."""
    monkeypatch.delenv(STEP_SUMMARY, raising=False)

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["cuecheck", "gate", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return caught.value.code

    return call


def test_the_untouched_control_passes(place: Place, gate: Gate) -> None:
    clean, biased = place.run().folder, place.run("biased").folder
    assert gate(clean) == 0
    assert gate(clean, "--recompute") == 0
    assert gate(clean, "--policy", place.policy()) == 0
    assert gate(clean, "--waivers", place.file("none.yaml", "waivers: []")) == 0
    assert gate(clean, "--baseline", biased) == 0
    release = ["--expect-model", place.folder / "weights", "--max-age", 0]
    assert gate(clean, *release, "--expect-data", place.folder / "manifest.csv") == 0
    assert gate(clean, *release, "--expect-data", "D" * 64) == 0
    assert gate(biased) == 1
    assert gate(biased, "--waivers", place.waivers()) == 0
    assert gate(biased, "--baseline", place.run("worse").folder) == 0
    assert gate(biased, "--baseline", clean) == 1


def _without(name: str, run: str = "clean") -> Callable[[Place], list[object]]:
    def spoil(place: Place) -> list[object]:
        (place.run(run).folder / name).unlink()
        return [place.run().folder]

    return spoil


def _with(name: str, content: str | bytes, *options: str) -> Callable[[Place], list[object]]:
    """A file with another content, not sealed again."""

    def spoil(place: Place) -> list[object]:
        path = place.run().folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return [place.run().folder, *options]

    return spoil


def _forged(name: str, content: str | bytes, *options: str) -> Callable[[Place], list[object]]:
    """A file with another content, sealed again."""

    def spoil(place: Place) -> list[object]:
        arguments = _with(name, content, *options)(place)
        seal(place.run())
        return arguments

    return spoil


def _truncated(name: str, *, sealed: bool, run: str = "clean") -> Callable[[Place], list[object]]:
    def spoil(place: Place) -> list[object]:
        path = place.run(run).folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        if sealed:
            seal(place.run(run))
        if run != "clean":
            return [place.run().folder, "--baseline", place.run(run).folder]
        return [place.run().folder, "--policy", place.policy()]

    return spoil


def _table(
    table: Table, change: Callable[[pd.DataFrame], pd.DataFrame], *options: str
) -> Callable[[Place], list[object]]:
    """A table changed and sealed again; judged by a policy, or with other options."""

    def spoil(place: Place) -> list[object]:
        run = place.run()
        frame = read_table(run.table(table.name), table)
        coded = list(frame.select_dtypes("category"))
        frame = change(frame.astype(dict.fromkeys(coded, object)))
        write_table(frame, table, run.table(table.name))
        seal(run)
        return [run.folder, *(options or ("--policy", place.policy()))]

    return spoil


def _set(column: str, value: object, rows: slice = slice(None)) -> Callable[..., pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].to_numpy(object, copy=True)
        values[rows] = value
        return frame.assign(**{column: pd.Series(values, index=frame.index)})

    return change


def _required(column: str, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """One required number of the evidence set."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame.index[frame["required"]][0], column] = value
        return frame

    return change


def _by_policy(text: str | bytes) -> Callable[[Place], list[object]]:
    return lambda place: [place.run().folder, "--policy", place.file("p.yaml", text)]


def _required_by(**policy: Any) -> Callable[[Place], list[object]]:
    return lambda place: [place.run().folder, "--policy", place.policy(**policy)]


def _waived(*changes: dict[str, Any], **given: str) -> Callable[[Place], list[object]]:
    def spoil(place: Place) -> list[object]:
        return [place.run("biased").folder, "--waivers", place.waivers(*changes, **given)]

    return spoil


def _waivers_file(text: str) -> Callable[[Place], list[object]]:
    return lambda place: [
        place.run("biased").folder, "--waivers", place.file("w.yaml", text)
    ]  # fmt: skip


def _twice(place: Place) -> list[object]:
    entries = yaml.safe_load(place.waivers().read_text())["waivers"]
    text = yaml.safe_dump({"waivers": entries + entries})
    return [place.run("biased").folder, "--waivers", place.file("w.yaml", text)]


def _outgrown(place: Place) -> list[object]:
    return [place.run("worse").folder, "--waivers", place.waivers()]


def _waived_but_open(place: Place) -> list[object]:
    arguments = ["--policy", place.policy(min_clusters=300), "--waivers", place.waivers()]
    return [place.run("biased").folder, *arguments]


def _expired_since(place: Place) -> list[object]:
    """A run that passed by waivers that were valid when it was judged."""
    path = place.waivers({"created": today() - timedelta(60), "expires": today() - timedelta(1)})
    run = write_run(place.folder / "old", hair=0.4, policy={"waivers": str(path)})
    found = json.loads(run.findings.read_text().replace("CONFIRMED", "WAIVED"))
    run.findings.write_text(json.dumps(found))
    verdict = json.loads(run.verdict.read_text())
    verdict["counts"] |= {"CONFIRMED": 0, "WAIVED": verdict["counts"]["CONFIRMED"]}
    run.verdict.write_text(json.dumps(verdict | {"verdict": "PASS"}))
    seal(run)
    return [run.folder]


def _against(run: str, baseline: str) -> Callable[[Place], list[object]]:
    return lambda place: [place.run(run).folder, "--baseline", place.run(baseline).folder]


def _baseline(spoil: Callable[[Run], None]) -> Callable[[Place], list[object]]:
    def change(place: Place) -> list[object]:
        spoil(place.run("worse"))
        return [place.run("biased").folder, "--baseline", place.run("worse").folder]

    return change


def _renamed(run: Run) -> None:
    run.config_file.write_text(run.config_file.read_text().replace("name: planted", "name: other"))
    seal(run)


def _copied(place: Place) -> list[object]:
    shutil.copytree(place.run("biased").folder, place.folder / "copy")
    return [place.run("biased").folder, "--baseline", place.folder / "copy"]


def _dropped(place: Place) -> list[object]:
    """The region that the baseline confirms is required no more."""
    run = write_run(place.folder / "less", only=("face",), policy={"required": ["face"]})
    return [run.folder, "--baseline", place.run("biased").folder]


def _evidence_of_another(place: Place) -> list[object]:
    shutil.copy(place.run().table("evidence"), place.run("biased").table("evidence"))
    seal(place.run("biased"))
    return [place.run("biased").folder, "--recompute"]


def _output(inside: str) -> Callable[[Place], list[object]]:
    return lambda place: [place.run().folder, "--output", place.folder / inside]


def _released(model: str | bytes, *options: object) -> Callable[[Place], list[object]]:
    return lambda p: [p.run().folder, "--expect-model", p.file("model", model), *options]


def _expected(
    spoil: Callable[[Run], object] = lambda run: None,
    model: str = "weights",
    data: str = "manifest.csv",
    age: int = 30,
) -> Callable[[Place], list[object]]:
    """A run that is held against a release after something was done to it."""

    def change(place: Place) -> list[object]:
        spoil(place.run())
        wanted = place.folder / data if "." in data else data
        release = ["--expect-model", place.folder / model, "--expect-data", wanted]
        return [place.run().folder, *release, "--max-age", age]

    return change


def _without_hash(name: str) -> Callable[[Run], object]:
    def forget(run: Run) -> None:
        hashes = json.loads(run.provenance.read_text())["sha256"]
        tell_provenance(run, sha256={k: v for k, v in hashes.items() if k != name})

    return forget


def _finished(when: object) -> Callable[[Run], object]:
    return lambda run: tell_provenance(run, finished=when)


def _days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def _provenance(text: str) -> Callable[[Run], object]:
    """Another provenance, sealed again."""

    def forge(run: Run) -> None:
        run.provenance.write_text(text)
        _seal_again(run)

    return forge


def _unrecorded(run: Run) -> None:
    """A provenance that was put there after the run was sealed."""
    kept = run.provenance.read_bytes()
    run.provenance.unlink()
    _seal_again(run)
    run.provenance.write_bytes(kept)


def _verdict_of(confirmed: int, cleared: int) -> str:
    counts = {"CONFIRMED": confirmed, "CLEARED": cleared, "INCONCLUSIVE": 0, "ERROR": 0}
    return json.dumps({"verdict": "PASS", "reason": "", "counts": counts | {"WAIVED": 0}})


CASES: dict[str, tuple[Callable[[Place], list[object]], int]] = {
    # the run
    "no folder": (lambda p: [p.folder / "nowhere"], 2),
    "a file for a folder": (lambda p: [p.file("f", "")], 2),
    "an empty folder": (lambda p: [(p.folder / "e").mkdir() or p.folder / "e"], 2),
    "verdict missing": (_without("verdict.json"), 2),
    "findings missing": (_without("findings.json"), 2),
    "evidence missing": (_without("evidence.parquet"), 2),
    "configuration missing": (_without("config.yaml"), 2),
    "record missing": (_without("record.json"), 2),
    "record empty": (_with("record.json", ""), 2),
    "record of nothing": (_with("record.json", '{"files": {}}'), 2),
    "record without files": (_with("record.json", "{}"), 2),
    "record of another kind": (_with("record.json", '{"files": ["verdict.json"]}'), 2),
    "record truncated": (_with("record.json", '{"files": {"verdict.json": "a'), 2),
    "verdict altered": (_with("verdict.json", '{"verdict": "PASS"}'), 2),
    "verdict emptied": (_with("verdict.json", ""), 2),
    "findings altered": (_with("findings.json", '{"findings": []}'), 2),
    "configuration altered": (_with("config.yaml", "policy: {min_clusters: 2}"), 2),
    "evidence truncated": (_truncated("evidence.parquet", sealed=False), 2),
    "samples truncated": (_truncated("samples.parquet", sealed=False), 2),
    "summary altered": (_with("summary.md", "PASS"), 2),
    "verdict forged empty": (_forged("verdict.json", ""), 2),
    "verdict forged in part": (_forged("verdict.json", '{"verdict": "PASS"}'), 2),
    "verdict forged against its counts": (_forged("verdict.json", _verdict_of(1, 3)), 2),
    "verdict forged on nothing": (_forged("verdict.json", _verdict_of(0, 0)), 2),
    "verdict forged with NaN": (_forged("verdict.json", '{"verdict": NaN}'), 2),
    "verdict forged as bytes": (_forged("verdict.json", b"\xff\xfe\x00"), 2),
    "findings forged": (_forged("findings.json", '{"findings": []}', "--recompute"), 2),
    "findings forged as numbers": (_forged("findings.json", '{"findings": [1]}', "--recompute"), 2),
    "findings forged with NaN": (_forged("findings.json", '{"findings": NaN}', "--recompute"), 2),
    "configuration forged empty": (_forged("config.yaml", "", "--recompute"), 2),
    "evidence of another run": (_evidence_of_another, 2),
    # the tables
    "interventions missing": (
        lambda p: [*_without("interventions.parquet")(p), "--policy", p.policy()], 2,
    ),
    "samples missing": (lambda p: [*_without("samples.parquet")(p), "--recompute"], 2),
    "attention missing": (lambda p: [*_without("attention.parquet")(p), "--recompute"], 2),
    "interventions forged in half": (_truncated("interventions.parquet", sealed=True), 2),
    "samples forged in half": (_truncated("samples.parquet", sealed=True), 2),
    "interventions emptied": (_table(INTERVENTIONS, lambda _: empty(INTERVENTIONS)), 5),
    "samples emptied": (_table(SAMPLES, lambda _: empty(SAMPLES, ["gender"])), 2),
    "no sample ok": (_table(SAMPLES, _set("status", "quarantined")), 4),
    "a margin is NaN": (_table(INTERVENTIONS, _set("margin_after", np.nan, slice(0, 1))), 4),
    "all margins are NaN": (_table(INTERVENTIONS, _set("margin_after", np.nan)), 4),
    "an answer is missing": (_table(INTERVENTIONS, _set("prediction_after", None, slice(1))), 4),
    "a prediction is missing": (_table(SAMPLES, _set("prediction", None, slice(0, 1))), 2),
    "rows are doubled": (_table(INTERVENTIONS, lambda t: pd.concat([t, t])), 2),
    "a placebo is missing": (_table(INTERVENTIONS, lambda t: t.iloc[500:]), 4),
    "one fill is missing": (_table(INTERVENTIONS, lambda t: t[t["fill"] != "blur"]), 4),
    "the swap is missing": (_table(INTERVENTIONS, lambda t: t[t["fill"] != "donor"]), 4),
    "samples of another audit": (_table(INTERVENTIONS, _set("sample_id", "x", slice(0, 1))), 2),
    "one large cluster": (_table(SAMPLES, _set("cluster_id", "c")), 5),
    "evidence emptied": (_table(EVIDENCE, lambda _: empty(EVIDENCE), "--waivers", "{none}"), 4),
    "evidence is NaN": (
        _table(EVIDENCE, _required("upper_limit", np.nan), "--waivers", "{none}"), 4,
    ),
    "evidence is infinite": (
        _table(EVIDENCE, _required("upper_limit", -np.inf), "--waivers", "{none}"), 4,
    ),
    "evidence requires nothing": (
        _table(EVIDENCE, _set("required", False), "--waivers", "{none}"), 4,
    ),
    "evidence lacks an act": (
        _table(EVIDENCE, lambda t: t[t["act"] != "remove:blur"], "--waivers", "{none}"), 4,
    ),
    "evidence is not that of the tables": (
        _table(EVIDENCE, _required("upper_limit", 0.0), "--recompute"), 2,
    ),
    "attention of nobody": (_table(ATTENTION, _set("sample_id", "x", slice(0, 1))), 2),
    # the policy
    "policy missing": (lambda p: [p.run().folder, "--policy", p.folder / "no.yaml"], 2),
    "policy is a folder": (lambda p: [p.run().folder, "--policy", p.folder], 2),
    "policy empty": (_by_policy(""), 2),
    "policy is a list": (_by_policy("- policy"), 2),
    "policy is no YAML": (_by_policy("policy: {alpha"), 2),
    "policy is bytes": (_by_policy(b"\xff\xfe\x00"), 2),
    "policy has an unknown key": (_by_policy("policy: {alhpa: 0.05}"), 2),
    "policy has a key twice": (_by_policy("policy: {alpha: 0.01, alpha: 0.05}"), 2),
    "policy is NaN": (_by_policy("policy: {pass_effect: .nan}"), 2),
    "policy is infinite": (_by_policy("policy: {pass_effect: .inf}"), 2),
    "policy leaves no room": (_by_policy("policy: {fail_effect: 0.1, pass_effect: 0.1}"), 2),
    "policy has no confidence": (_by_policy("statistics: {confidence: 0.1}"), 2),
    "policy names no such waivers": (_by_policy("policy: {waivers: no.yaml}"), 2),
    "policy requires nothing": (_required_by(required=[]), 4),
    "policy requires core": (_required_by(required=["face", "tools"]), 4),
    "policy requires what the run has not": (_required_by(required=["face", "watermark"]), 4),
    "policy asks for more samples": (_required_by(min_clusters=1000), 5),
    "policy asks for less reliance": (_required_by(fail_effect=0.0, pass_effect=0.001), 5),
    # waivers
    "waivers missing": (lambda p: [p.run("biased").folder, "--waivers", p.folder / "no.yaml"], 2),
    "waivers empty": (_waivers_file(""), 2),
    "waivers of nothing": (_waivers_file("waivers: []"), 1),
    "waivers without end": (_waivers_file("waivers: [{owner: ana"), 2),
    "waivers with an unknown key": (_waived({"aproved": True}), 2),
    "waiver expired": (_waived({"created": today() - timedelta(31)}), 1),
    "waiver expired yesterday": (
        _waived({"created": today() - timedelta(9), "expires": today() - timedelta(1)}), 1,
    ),
    "waiver of tomorrow": (_waived({"created": today() + timedelta(1)}), 1),
    "waiver of another finding": (_waived({"fingerprint": "0" * 16}), 1),
    "waiver of no finding": (_waived({"fingerprint": ...}), 1),
    "waiver without owner": (_waived({"owner": ...}), 1),
    "waiver without reason": (_waived({"reason": ""}), 1),
    "waiver without created": (_waived({"created": ...}), 1),
    "waiver without effect": (_waived({"max_effect": ...}), 1),
    "waiver of NaN": (_waived({"max_effect": float("nan")}), 2),
    "waiver of no day": (_waived({"created": "soon"}), 2),
    "waiver too small": (_waived({"max_effect": 0.1}), 1),
    "waiver outgrown": (_outgrown, 1),
    "waived in part": (_waived(classes="nurse"), 1),
    "waived twice": (_twice, 1),
    "waived and not decided": (_waived_but_open, 5),
    "waivers expired since": (_expired_since, 1),
    # the baseline
    "baseline missing": (_against("biased", "nowhere"), 4),
    "baseline is the run": (_against("biased", "biased"), 4),
    "baseline is a copy of the run": (_copied, 4),
    "baseline is better": (_against("worse", "biased"), 1),
    "baseline is clean": (_against("biased", "clean"), 1),
    "baseline unfinished": (_baseline(lambda r: r.record.unlink()), 4),
    "baseline altered": (_baseline(lambda r: r.verdict.write_text("{}")), 4),
    "baseline of another audit": (_baseline(_renamed), 4),
    "baseline without tables": (_baseline(lambda r: r.table("interventions").unlink()), 4),
    "baseline without evidence": (_baseline(lambda r: r.table("evidence").unlink()), 4),
    "baseline forged in half": (_truncated("interventions.parquet", sealed=True, run="worse"), 4),
    "baseline confirms what is not required": (_dropped, 4),
    # what is to be released
    "another model": (_released("other weights"), 4),
    "model truncated": (_released("weight"), 4),
    "model empty": (_released(""), 4),
    "model missing": (_expected(model="nowhere"), 4),
    "model is a folder": (_expected(model="clean"), 4),
    "model is not named": (lambda p: [p.run().folder, "--expect-model", ""], 4),
    "another manifest": (
        lambda p: [p.run().folder, "--expect-data", p.file("m.csv", "path,label\na,b\n")], 4,
    ),
    "manifest missing": (_expected(data="no.csv"), 4),
    "other data": (_expected(data="e" * 64), 4),
    "data of a cut hash": (_expected(data="d" * 8), 4),
    "data is not named": (lambda p: [p.run().folder, "--expect-data", ""], 4),
    "run too old": (_expected(_finished(_days_ago(31))), 4),
    "run of yesterday": (_expected(_finished(_days_ago(1)), age=0), 4),
    "run of tomorrow": (_expected(_finished(_days_ago(-1))), 4),
    "run of no day": (_expected(_finished("lately")), 4),
    "run of no time zone": (_expected(_finished("2026-01-01T00:00:00"), age=99_999), 4),
    "run of a number": (_expected(_finished(20260101)), 4),
    "run never finished": (_expected(_finished(None)), 4),
    "provenance missing": (_expected(lambda run: run.provenance.unlink()), 4),
    "weights of a run that left none": (
        lambda p: [
            tell_provenance(p.run("biased")) or p.run("biased").folder,
            "--expect-model", p.folder / "weights",
        ], 4,
    ),
    "provenance of a run without": (
        lambda p: [p.run("biased").folder, "--expect-model", p.folder / "weights"], 4,
    ),
    "provenance not in the record": (_expected(_unrecorded), 4),
    "provenance altered": (_expected(lambda run: run.provenance.write_text("{}")), 2),
    "provenance truncated": (
        _expected(lambda run: run.provenance.write_bytes(run.provenance.read_bytes()[:99])), 2,
    ),
    "provenance forged empty": (_expected(_provenance("")), 4),
    "provenance forged as a list": (_expected(_provenance("[]")), 4),
    "provenance forged with NaN": (_expected(_provenance('{"sha256": NaN}')), 4),
    "provenance without hashes": (_expected(_provenance("{}")), 4),
    "hashes are a list": (_expected(lambda run: tell_provenance(run, sha256=["x"])), 4),
    "hash of the weights missing": (_expected(_without_hash("checkpoint")), 4),
    "hash of the manifest missing": (_expected(_without_hash("manifest")), 4),
    "hash of the data missing": (_expected(_without_hash("data"), data="d" * 64), 4),
    "hash is null": (
        _expected(lambda run: tell_provenance(run, sha256={"checkpoint": None})), 4,
    ),
    "hash is true": (
        _expected(lambda run: tell_provenance(run, sha256={"checkpoint": True})), 4,
    ),
    "the right model of an altered run": (
        _expected(lambda run: run.findings.write_text('{"findings": []}')), 2,
    ),
    "the right model of a run that is not decided": (
        lambda p: [*_expected()(p), "--policy", p.policy(min_clusters=1000)], 5,
    ),
    # where it is written to
    "summary of no step": (lambda p: [p.run().folder, "--step-summary"], 2),
    "output in the run": (_output("clean"), 2),
    "output below the run": (_output("clean/again"), 2),
    "output in another run": (_output("biased"), 2),
    "output on a file": (lambda p: [p.run().folder, "--output", p.file("f", "")], 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_nothing_that_is_wrong_exits_0(
    name: str, place: Place, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, code = CASES[name]
    none = place.file("none.yaml", "waivers: []")
    arguments = [none if one == "{none}" else one for one in spoil(place)]
    assert gate(*arguments) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    if code == 2:
        assert told.err.startswith("error: ")


def test_it_tells_what_is_known_waived_and_void(
    place: Place, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    biased, worse = place.run("biased").folder, place.run("worse").folder
    gate(biased, "--waivers", place.waivers({"owner": ""}))
    assert (
        "warning Waiver 1 (hair for 'doctor') is void: it has no owner." in capsys.readouterr().out
    )
    gate(biased, "--baseline", worse, "--output", place.folder / "out")
    assert "KNOWN unchanged" in capsys.readouterr().out
    written = place.folder / "out"
    assert "KNOWN, unchanged" in (written / "summary.md").read_text()
    assert "Known from the baseline" in (written / "junit.xml").read_text()
    gate(biased, "--waivers", place.waivers(), "--json", "--output", written)
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["WAIVED"] == 2
    assert {f["status"] for f in told["findings"]} == {"CLEARED", "WAIVED"}
    assert "Waived by ana" in (written / "summary.md").read_text()


@pytest.mark.parametrize("age", ["-1", "nan", "1.5", ""])
def test_an_age_that_is_none_is_refused(age: str, place: Place, gate: Gate) -> None:
    assert gate(place.run().folder, "--max-age", age) == 2


def test_both_hashes_or_the_age_are_named(
    place: Place, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = place.run()
    assert gate(clean.folder, "--expect-model", place.file("w.pt", "other")) == 4
    told = capsys.readouterr().out
    there, audited = file_digest(place.folder / "w.pt"), file_digest(place.folder / "weights")
    assert f"w.pt has the SHA-256 {there[:8]}..., but what was audited has {audited[:8]}" in told
    assert there[:9] not in told
    assert gate(clean.folder, "--expect-data", "e" * 64) == 4
    assert f"{'e' * 8}..., but what was audited has {'d' * 8}..." in capsys.readouterr().out
    tell_provenance(clean, finished=_days_ago(31))
    assert gate(clean.folder, "--max-age", 30) == 4
    assert "the run is 31 days old" in capsys.readouterr().out
    assert gate(clean.folder, "--max-age", 31) == 0


REFUSED: dict[str, tuple[Callable[[Place], list[object]], int]] = {
    "altered": CASES["verdict altered"],
    "missing": CASES["no folder"],
    "another model": CASES["another model"],
    "no model": CASES["model missing"],
    "bad waivers": CASES["waivers with an unknown key"],
    "bad baseline": CASES["baseline altered"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_say_error_where_it_cannot_be_judged(
    name: str, place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, step = place.folder / "out", place.folder / "step.md"
    monkeypatch.setenv(STEP_SUMMARY, str(step))
    wanted = ["--output", out, "--step-summary"]
    assert gate(place.run().folder, *wanted) == 0
    assert sorted(path.name for path in out.iterdir()) == WRITTEN
    step.unlink()
    spoil, code = REFUSED[name]
    assert gate(*spoil(place), *wanted) == code
    (suite,) = JUnitXml.fromfile(str(out / "junit.xml"))
    assert (suite.tests, suite.errors) == (1, 1)
    (run,) = json.loads((out / "findings.sarif").read_text())["runs"]
    assert [result["level"] for result in run["results"]] == ["error"]
    assert json.loads((out / "verdict.json").read_text())["verdict"] == "ERROR"
    assert json.loads((out / "findings.json").read_text()) == {"findings": []}
    for path in (out / "summary.md", step):
        assert ": ERROR" in path.read_text()
    for path in (out / "junit.xml", out / "findings.sarif", out / "summary.md", step):
        assert str(place.folder) not in html.unescape(path.read_text())


WRITTEN = [
    "association.parquet", "cells.parquet", "config.yaml", "evidence.parquet", "findings.json",
    "findings.sarif", "junit.xml", "summary.md", "verdict.json",
]  # fmt: skip


def test_a_step_summary_is_appended_and_never_too_long(
    place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = place.folder / "step.md"
    monkeypatch.setenv(STEP_SUMMARY, str(step))
    step.write_text("Built.")
    for name in ("clean", "biased"):
        gate(place.run(name).folder, "--step-summary")
    text = step.read_text()
    assert text.startswith("Built.\n## Bias audit planted: PASS\n")
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert re.findall("<h2>(.*)</h2>", page) == [
        "Bias audit planted: PASS", "Bias audit planted: FAIL",
    ]  # fmt: skip
    assert page.count("<table>") == 2
    assert "<a " not in page  # no link to a report that is not there
    step.write_bytes(b"x" * (STEP_SUMMARY_BYTES - 100))
    assert gate(place.run().folder, "--step-summary") == 2
    assert step.stat().st_size < STEP_SUMMARY_BYTES


def test_a_run_is_left_as_it_was(place: Place, gate: Gate) -> None:
    run = place.run("biased")
    before = digests(run), run.record.read_bytes()
    for options in (
        ("--recompute",),
        ("--policy", place.policy()),
        ("--waivers", place.waivers(), "--output", place.folder / "out"),
        ("--baseline", place.run("worse").folder),
    ):
        gate(run.folder, *options)
    assert (digests(run), run.record.read_bytes()) == before


def test_a_real_run_is_judged_again_without_model_and_pictures(
    tiny: Path, finished: Path, tmp_path: Path, gate: Gate
) -> None:
    left = shutil.ignore_patterns("shards", "stages", "model", "pictures", "*.html")
    shutil.copytree(finished, tmp_path / "run", ignore=left)
    run, out = Run(tmp_path / "run"), tmp_path / "out"
    assert gate(run.folder, "--recompute", "--output", out) == gate(finished) == 5
    assert (out / "verdict.json").read_bytes() == run.verdict.read_bytes()
    assert (out / "findings.json").read_bytes() == run.findings.read_bytes()
    weights, manifest = finished / "model" / "model.safetensors", tiny.with_name("manifest.csv")
    audited = ["--expect-model", weights, "--expect-data", manifest, "--max-age", 1]
    assert gate(run.folder, *audited) == 5
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes() + b"\0")
    assert gate(run.folder, *audited, "--expect-model", other) == 4
    stricter = tmp_path / "policy.yaml"
    stricter.write_text("policy: {min_clusters: 1000}")
    assert gate(run.folder, "--policy", stricter) == 5


@pytest.mark.parametrize("command", ["run", "validate"])
def test_faulty_waivers_are_told_before_the_audit(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_tiny(tmp_path, per_cell=3)
    path.write_text(path.read_text().replace("policy: {", "policy: {waivers: w.yaml, "))
    (tmp_path / "w.yaml").write_text("waivers:\n  - {ownr: ana}")
    direct = ["--no-prefect", "--out", str(tmp_path / "run")] if command == "run" else []
    monkeypatch.setattr(sys, "argv", ["cuecheck", command, str(path), *direct])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert f"{tmp_path / 'w.yaml'}:2: waivers.0.ownr: unknown key" in capsys.readouterr().err


def test_the_policy_to_start_from_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cuecheck", "policy"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == (SHIPPED / "gate" / "policy.yaml").read_text()
