"""A run judged again: from its folder alone, to the same verdict, or by another policy."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.config import GatePolicy
from audit.config_file import SHIPPED, load_policy
from audit.errors import ConfigError, RunError
from audit.gate import Verdict, read_waivers
from audit.judgement import Judgement, judge_again, judge_run, obeyed_verdict
from audit.outcome import write_outcome
from audit.runs.folder import Run
from audit.runs.record import digests, seal
from audit.tables import EVIDENCE, read_table, write_table
from tests.evidence.planted import some_examples
from tests.gate.runs import write_run

DAY = date(2026, 3, 10)


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is confirmed to rest on hair, for both classes."""
    return write_run(tmp_path_factory.mktemp("biased") / "run", hair=0.4)


def rules(**policy: Any) -> GatePolicy:
    statistics = {"resamples": policy.pop("resamples", 199)}
    return GatePolicy.model_validate({"policy": policy, "statistics": statistics})


def statuses(judgement: Judgement) -> dict[tuple[str, str], str]:
    return {(f.region, f.target_class): f.status for f in judgement.findings}


@settings(some_examples, max_examples=8)
@given(
    hair=st.floats(0, 0.6),
    face=st.floats(0, 0.2),
    n=st.integers(30, 150),
    seed=st.integers(0, 99),
    missing=st.integers(0, 3),
)
def test_the_stored_verdict_is_the_one_computed_again(
    hair: float, face: float, n: int, seed: int, missing: int
) -> None:
    def lose(tables: dict[str, pd.DataFrame]) -> None:
        margins = tables["interventions"]["margin_after"].to_numpy(copy=True)
        margins[:missing] = np.nan
        tables["interventions"]["margin_after"] = margins
        tables["interventions"] = tables["interventions"].sample(frac=1, random_state=seed)

    with TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run", hair=hair, face=face, n=n, seed=seed, spoil=lose)
        stored = Verdict.read(run.verdict)
        findings = json.loads(run.findings.read_text())["findings"]
        for again in (judge_again(run, DAY), judge_again(run, DAY, recompute=True)):
            assert again.verdict == stored
            assert json.loads(json.dumps(again.records())) == findings
        own = run.config()
        same = GatePolicy(policy=own.policy, statistics=own.statistics)
        assert judge_again(run, DAY, rules=same).verdict == stored


def test_a_run_is_read_only(biased: Run, tmp_path: Path) -> None:
    before = digests(biased)
    judgement = judge_again(biased, DAY, rules=rules(fail_effect=0.9, pass_effect=0.95))
    write_outcome(judgement, tmp_path / "out", biased)
    assert digests(biased) == before
    for inside in (biased.folder, biased.folder / "again"):
        with pytest.raises(RunError, match="stays as it is"):
            write_outcome(judgement, inside, biased)
    with pytest.raises(RunError, match="a run, which stays as it is"):
        write_outcome(judgement, biased.folder)
    assert digests(biased) == before
    out = Run(tmp_path / "out")
    assert Verdict.read(out.verdict) == judgement.verdict
    assert out.config().policy.fail_effect == 0.9
    read_table(out.table("evidence"), EVIDENCE)


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        ({}, "FAIL"),
        ({"fail_effect": 0.5, "pass_effect": 0.6}, "PASS"),
        ({"fail_effect": 0.36, "pass_effect": 0.38}, "INCONCLUSIVE"),
        ({"min_clusters": 300}, "INCONCLUSIVE"),
        ({"required": ["face"]}, "PASS"),
        ({"required": ["hair"]}, "FAIL"),
        ({"required": []}, "ERROR"),
        ({"required": ["face", "tools"]}, "ERROR"),
        ({"required": ["face", "mirror"]}, "ERROR"),
    ],
)
def test_the_policy_decides(biased: Run, policy: dict[str, Any], verdict: str) -> None:
    again = judge_again(biased, DAY, rules=rules(**policy))
    assert again.verdict.verdict == verdict
    assert again.config.policy.model_dump(include=set(policy)) == policy


def test_a_required_region_that_the_run_did_not_test_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", only=("face",), policy={"required": ["face"]})
    assert Verdict.read(run.verdict).verdict == "PASS"
    again = judge_again(run, DAY, rules=rules())
    assert statuses(again) == {
        ("face", "doctor"): "CLEARED",
        ("face", "nurse"): "CLEARED",
        ("hair", "doctor"): "ERROR",
        ("hair", "nurse"): "ERROR",
    }
    assert "lacks any test of it" in again.findings[-1].reason


def test_a_policy_stands_alone(tmp_path: Path) -> None:
    lax = {"fail_effect": 0.5, "pass_effect": 0.6, "min_clusters": 2, "required": ["face", "hair"]}
    run = write_run(tmp_path / "run", hair=0.4, policy=lax)
    assert Verdict.read(run.verdict).verdict == "PASS"
    assert judge_again(run, DAY, rules=rules(alpha=0.05)).verdict.verdict == "FAIL"


def test_the_shipped_policy_has_the_defaults_and_names_every_key() -> None:
    path = SHIPPED / "gate" / "policy.yaml"
    assert load_policy(path) == GatePolicy()
    written = yaml.safe_load(path.read_text())
    for section, model in GatePolicy():
        assert written[section].keys() == type(model).model_fields.keys()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"p\.yaml: must be a mapping of keys such as 'policy', 'statistics'"),
        ("policy:\n  alpah: 0.1", r"p\.yaml:2: policy\.alpah: unknown key; allowed are: alpha, "),
        ("alpha: 0.1", r"p\.yaml:1: alpha: unknown key; allowed are: policy, statistics"),
        ("policy:\n  alpha: .nan", r"p\.yaml:2: policy\.alpha"),
        ("policy: {fail_effect: 0.2}", r"fail_effect must be below pass_effect"),
        ("statistics: {confidence: 0.5}", r"p\.yaml:1: statistics\.confidence"),
        ("policy: {min_clusters: 1}", r"min_clusters"),
        ("policy: [", r"p\.yaml:"),
    ],
)
def test_a_faulty_policy_is_told_with_line_and_key(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_policy(tmp_path / "p.yaml")


def write_waivers(path: Path, run: Run, **changes: Any) -> Path:
    """Waivers for every confirmed finding of a run."""
    found = json.loads(run.findings.read_text())["findings"]
    entry = {"reason": "Known.", "owner": "ana", "created": date(2026, 3, 1), "max_effect": 0.6}
    prints = [f["fingerprint"] for f in found if f["status"] in ("CONFIRMED", "WAIVED")]
    entries = [{"fingerprint": one, **entry, **changes} for one in prints]
    path.write_text(yaml.safe_dump({"waivers": entries}))
    return path


def test_waivers_hold_on_their_days(biased: Run, tmp_path: Path) -> None:
    path = write_waivers(tmp_path / "w.yaml", biased)
    again = judge_again(biased, DAY, waivers=path)
    assert again.verdict.verdict == "PASS"
    assert again.verdict.counts["WAIVED"] == 2
    late = judge_again(biased, date(2026, 4, 1), waivers=path)
    assert late.verdict.verdict == "FAIL"
    assert len(late.verdict.warnings) == 2


def test_waivers_of_the_policy_are_sealed_and_still_expire(
    biased: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.steps.today", lambda: DAY)
    path = write_waivers(tmp_path / "w.yaml", biased)
    run = write_run(tmp_path / "run", hair=0.4, policy={"waivers": str(path)})
    assert Verdict.read(run.verdict).verdict == "PASS"
    assert obeyed_verdict(run, DAY).verdict == "PASS"
    assert judge_again(run, DAY, recompute=True).verdict.verdict == "PASS"
    write_waivers(path, biased, created=date(2026, 5, 1))  # the run has a copy
    assert obeyed_verdict(run, DAY).verdict == "PASS"
    assert obeyed_verdict(run, date(2026, 5, 2)).verdict == "FAIL"
    assert judge_again(run, DAY, rules=rules()).verdict.verdict == "FAIL"  # names none
    run.waivers.unlink()
    with pytest.raises(RunError, match=r"waivers\.yaml: missing"):
        obeyed_verdict(run, DAY)


def test_only_what_is_worse_than_the_baseline_blocks(biased: Run, tmp_path: Path) -> None:
    same = write_run(tmp_path / "same", hair=0.4, seed=7)
    worse = write_run(tmp_path / "worse", hair=0.7, seed=8)
    other = write_run(tmp_path / "other", hair=0.4, face=0.4)
    known = judge_again(same, DAY, baseline=biased)
    assert (known.verdict.verdict, known.verdict.counts["KNOWN"]) == ("PASS", 2)
    assert {f.change for f in judge_again(worse, DAY, baseline=biased).findings} == {
        None,
        "worsened",
    }
    blocked = judge_again(other, DAY, baseline=biased)
    assert blocked.verdict.verdict == "FAIL"
    assert {(f.region, f.change) for f in blocked.findings} == {
        ("face", "new"),
        ("hair", "unchanged"),
    }
    lenient = judge_again(
        worse, DAY, baseline=biased, rules=rules(worsened_effect=0.9)
    )  # both under that policy
    assert lenient.verdict.verdict == "PASS"


def test_the_run_itself_is_no_baseline(biased: Run) -> None:
    verdict = judge_again(biased, DAY, baseline=biased).verdict
    assert verdict.verdict == "ERROR"
    assert "is the run itself" in verdict.reason


def test_a_copy_with_another_report_is_no_baseline(biased: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(biased.folder, tmp_path / "copy"))
    copy.report.write_text("another version")
    seal(copy)
    verdict = judge_again(biased, DAY, baseline=copy).verdict
    assert verdict.verdict == "ERROR"
    assert "is the run itself, or a copy" in verdict.reason


def test_the_baseline_is_named(biased: Run, tmp_path: Path) -> None:
    same = write_run(tmp_path / "same", hair=0.4, seed=7)
    (told,) = judge_again(same, DAY, baseline=biased).verdict.warnings
    assert told == f"Compared with the baseline {biased.folder.name}, whose verdict is FAIL."


def test_a_baseline_of_other_data_is_told(biased: Run, tmp_path: Path) -> None:
    fewer = write_run(tmp_path / "fewer", hair=0.4, n=150)
    _, other_data = judge_again(fewer, DAY, baseline=biased).verdict.warnings
    assert other_data.startswith("The baseline audited other data: ")
    assert "of 150 audited samples" in other_data


def test_a_configuration_changed_on_the_way_is_refused(biased: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(biased.folder, tmp_path / "run"))
    run.record.unlink()
    config = yaml.safe_load(run.config_file.read_text())
    config["policy"] = {"fail_effect": 0.8, "pass_effect": 0.9}
    run.config_file.write_text(yaml.safe_dump(config))
    with pytest.raises(RunError, match=r"config\.yaml: changed since the run was started"):
        judge_run(run, DAY)


def test_a_judgement_is_not_written_into_an_unfinished_run(biased: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(biased.folder, tmp_path / "run"))
    run.record.unlink()
    with pytest.raises(RunError, match="choose another folder"):
        write_outcome(judge_again(biased, DAY), run.folder, biased)


def test_sealed_waivers_do_not_depend_on_the_environment(
    biased: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.steps.today", lambda: DAY)
    path = write_waivers(tmp_path / "w.yaml", biased, max_effect="${MOST:-0.1}", reason="$${MOST}")
    run = write_run(tmp_path / "run", hair=0.4, policy={"waivers": str(path)})
    monkeypatch.setenv("MOST", "1.0")
    assert obeyed_verdict(run, DAY).verdict == "FAIL"
    assert {waiver.reason for waiver in read_waivers(run.waivers)} == {"${MOST}"}


def test_tables_that_only_explain_may_be_left_behind(biased: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(biased.folder, tmp_path / "run"))
    for name in ("association", "cells", "scorecard", "duplicates", "properties"):
        run.table(name).unlink()
    path = write_waivers(tmp_path / "w.yaml", run)
    assert judge_again(run, DAY, waivers=path).verdict.verdict == "PASS"


def test_what_does_not_follow_is_refused(tmp_path: Path) -> None:
    def forged(name: str) -> Run:
        return write_run(tmp_path / name, hair=0.4)

    run = forged("evidence")
    evidence = read_table(run.table("evidence"), EVIDENCE)
    evidence["lower_limit"] -= 0.4
    write_table(evidence, EVIDENCE, run.table("evidence"))
    seal(run)
    with pytest.raises(RunError, match=r"evidence\.parquet: does not follow from the tables"):
        judge_again(run, DAY, recompute=True)

    run = forged("findings")
    run.findings.write_text(run.findings.read_text().replace("CONFIRMED", "WAIVED"))
    seal(run)
    with pytest.raises(RunError, match=r"findings\.json: does not follow from the evidence"):
        judge_again(run, DAY, recompute=True)

    run = forged("verdict")
    verdict = json.loads(run.verdict.read_text())
    verdict |= {"verdict": "PASS"}
    verdict["counts"] |= {"CONFIRMED": 0, "CLEARED": 4}
    run.verdict.write_text(json.dumps(verdict))
    seal(run)
    assert judge_again(run, DAY).verdict.verdict == "FAIL"  # judged by its evidence
    with pytest.raises(RunError, match=r"verdict\.json: does not follow from the findings"):
        judge_again(run, DAY, recompute=True)
