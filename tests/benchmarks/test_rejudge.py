"""The tables of the re-judging benchmark are those of a run, and what it plants is found."""

from __future__ import annotations

from audit.evidence import build_evidence
from audit.gate import decide, judge_findings
from tests.benchmarks.rejudge import config_of, tables


def test_what_it_plants_is_found() -> None:
    classes = ["a", "b"]
    config = config_of(classes, bootstraps=200, permutations=200)
    samples, attention, interventions, maps = tables(1600, classes, subgroups=2)
    findings = judge_findings(
        build_evidence(samples, attention, interventions, config, maps), config
    )
    confirmed = {f.region for f in findings if f.status == "CONFIRMED"}
    assert confirmed == {"hair"}
    assert decide(findings).verdict == "FAIL"
