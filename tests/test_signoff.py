from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit.config import GatePolicy, Statistics
from audit.errors import ConfigError, RunError
from audit.judgement import judge_again, obeyed_verdict, today
from audit.runs.files import read_json, write_json
from audit.runs.folder import Run, working_on
from audit.runs.record import check_record, rebuilding_report, seal
from audit.signoff import read_signoff, sign_off
from tests.gate.runs import write_run

WHOLE = {"decision": "approve", "by": "a", "reason": "b", "at": "2026-01-01", "record": "c"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that pass and fail, with and without a policy that wants a sign-off."""
    folder = tmp_path_factory.mktemp("made")
    for name, hair in (("clean", 0.0), ("biased", 0.4)):
        write_run(folder / name, **({"hair": hair} if hair else {}))
        shutil.copytree(folder / name, folder / f"{name}-wanted")
        _want_signoff(Run(folder / f"{name}-wanted"))
    return folder


def _want_signoff(run: Run) -> None:
    config = yaml.safe_load(run.config_file.read_text())
    config.setdefault("policy", {})["signoff"] = True
    run.config_file.write_text(yaml.safe_dump(config))
    seal(run)


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def _decide(run: Run, decision: Any, **given: Any) -> None:
    findings = judge_again(run, today()).findings
    sign_off(run, findings, decision, "Ada", "I read the report.", **given)


def _verdict(run: Run, day: date | None = None) -> str:
    return obeyed_verdict(run, day or today()).verdict


def test_nothing_passes_before_the_sign_off_that_the_policy_wants(runs: Path) -> None:
    run = Run(runs / "clean-wanted")
    assert _verdict(run) == "ERROR"
    assert "waits for a sign-off" in obeyed_verdict(run, today()).reason
    _decide(run, "approve")
    assert _verdict(run) == "PASS"
    assert any("Approved by Ada" in told for told in obeyed_verdict(run, today()).warnings)
    check_record(run)


@pytest.mark.parametrize("name", ["clean", "clean-wanted", "biased", "biased-wanted"])
def test_a_rejection_fails_wanted_or_not(runs: Path, name: str) -> None:
    run = Run(runs / name)
    _decide(run, "reject")
    assert _verdict(run) == "FAIL"
    assert obeyed_verdict(run, today()).reason.startswith("Rejected by Ada")
    assert judge_again(run, today()).verdict.verdict == "FAIL"


@pytest.mark.parametrize("name", ["biased", "biased-wanted"])
def test_approving_lets_no_confirmed_finding_through(runs: Path, name: str) -> None:
    run = Run(runs / name)
    assert _verdict(run) == "FAIL"
    _decide(run, "approve")
    assert _verdict(run) == "FAIL"


def test_what_is_waived_passes_until_its_day_and_only_where_the_policy_asks_people(
    runs: Path,
) -> None:
    last = today() + timedelta(days=3)
    wanted, sealed = Run(runs / "biased-wanted"), Run(runs / "biased")
    for run in (wanted, sealed):
        _decide(run, "waive", until=last)
    assert [_verdict(wanted, day) for day in (today(), last, last + timedelta(days=1))] == [
        "PASS",
        "PASS",
        "FAIL",
    ]
    assert _verdict(sealed) == "FAIL"  # a file beside the record must not undo the record


def test_the_last_decision_counts_and_the_earlier_are_kept(runs: Path) -> None:
    run = Run(runs / "clean-wanted")
    for decision in ("approve", "reject", "approve"):
        _decide(run, decision)
    assert _verdict(run) == "PASS"
    kept = read_json(run.signoff)["decisions"]
    assert [one["decision"] for one in kept] == ["approve", "reject", "approve"]


def test_a_waive_renews_what_the_one_before_accepted(runs: Path) -> None:
    run, later = Run(runs / "biased-wanted"), today() + timedelta(days=90)
    _decide(run, "waive")
    _decide(run, "waive", until=later)
    assert [_verdict(run, day) for day in (today(), later)] == ["PASS", "PASS"]
    _decide(run, "approve")  # the last decision counts, and it accepts nothing
    assert _verdict(run) == "FAIL"


def test_a_rejection_is_no_finding_to_be_waived(runs: Path) -> None:
    for name in ("clean-wanted", "biased-wanted"):
        _decide(Run(runs / name), "reject")
    with pytest.raises(ConfigError, match="nothing to waive"):
        _decide(Run(runs / "clean-wanted"), "waive")
    _decide(Run(runs / "biased-wanted"), "waive")
    verdict = obeyed_verdict(Run(runs / "biased-wanted"), today())
    assert verdict.verdict == "PASS"
    assert not any("void" in told for told in verdict.warnings)


def test_what_is_signed_takes_the_place_of_a_filed_waiver_for_as_long_as_it_lasts(
    runs: Path, tmp_path: Path
) -> None:
    run, last = Run(runs / "biased-wanted"), today() + timedelta(days=3)

    def verdict(day: date, **filed: Any) -> str:
        waivers = read_json(run.signoff)["decisions"][-1]["waivers"]
        file = tmp_path / "waivers.yaml"
        file.write_text(yaml.safe_dump({"waivers": [one | filed for one in waivers]}))
        return judge_again(run, day, waivers=file).verdict.verdict

    _decide(run, "waive", until=last)
    after = last + timedelta(days=1)
    assert verdict(last, max_effect=0.01) == "PASS"
    assert verdict(after, max_effect=0.01) == "FAIL"
    assert verdict(after, expires=after.isoformat()) == "PASS"


def test_two_decisions_at_once_are_not_written(runs: Path) -> None:
    run = Run(runs / "clean")
    with working_on(run), pytest.raises(RunError, match="another process works on this run"):
        _decide(run, "reject")


def test_a_decision_on_another_run_is_refused(runs: Path) -> None:
    _decide(Run(runs / "clean-wanted"), "approve")
    shutil.copy(runs / "clean-wanted" / "signoff.json", runs / "biased-wanted")
    with pytest.raises(RunError, match=r"signoff\.json: is about another record"):
        _verdict(Run(runs / "biased-wanted"))


@pytest.mark.parametrize(
    "damage",
    [
        {"decisions": [{"decision": "approve"}]},
        {"decisions": 3},
        {"decisions": [WHOLE | {"decision": "sure"}]},
        {"decisions": [WHOLE | {"by": " "}]},
        {},
    ],
)  # fmt: skip
def test_a_damaged_file_lets_nothing_through(runs: Path, damage: dict[str, Any]) -> None:
    run = Run(runs / "clean-wanted")
    write_json(run.signoff, damage)
    with pytest.raises(RunError, match=r"signoff\.json"):
        _verdict(run)


def test_the_report_may_be_built_again_after_the_sign_off(runs: Path) -> None:
    run = Run(runs / "clean-wanted")
    run.report.write_text("report")
    seal(run)
    _decide(run, "approve")
    with rebuilding_report(run):
        run.report.write_text("built again")
    assert _verdict(run) == "PASS"


@pytest.mark.parametrize(
    ("decision", "given", "told"),
    [
        ("approve", {"by": " "}, "--by: must say something"),
        ("approve", {"reason": ""}, "--reason: must say something"),
        ("approve", {"reason": "x" * 2001}, "--reason: at most 2000 characters"),
        ("waive", {}, "nothing to waive"),
        ("approve", {"until": date(2999, 1, 1)}, "--until: only for waive"),
    ],
)
def test_what_says_nothing_is_no_decision(
    runs: Path, decision: Any, given: dict[str, Any], told: str
) -> None:
    run = Run(runs / "clean")
    words = {"by": "Ada", "reason": "Seen.", **given}
    with pytest.raises(ConfigError, match=told):
        sign_off(run, judge_again(run, today()).findings, decision, **words)
    assert read_signoff(run) is None


def test_a_waiver_cannot_begin_after_it_ends(runs: Path) -> None:
    with pytest.raises(ConfigError, match="is past"):
        _decide(Run(runs / "biased"), "waive", until=today() - timedelta(days=1))


def test_no_other_policy_does_without_the_sign_off(runs: Path) -> None:
    run = Run(runs / "clean-wanted")
    judged = judge_again(run, today(), rules=GatePolicy(statistics=Statistics(resamples=99)))
    assert judged.verdict.verdict == "ERROR"
    assert "sign-off" in judged.verdict.reason
