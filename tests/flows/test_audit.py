from __future__ import annotations

from pathlib import Path

import pytest

from audit.gate import EXIT_CODES, Verdict
from audit.runs.folder import Run
from flows.audit import gate_state


@pytest.mark.parametrize(
    ("outcome", "kind", "name"),
    [
        ("PASS", "COMPLETED", "GatePassed"),
        ("FAIL", "FAILED", "GateFailed"),
        ("INCONCLUSIVE", "FAILED", "GateInconclusive"),
        ("ERROR", "FAILED", "GateError"),
    ],
)
def test_only_a_pass_completes_the_flow(outcome: str, kind: str, name: str) -> None:
    assert outcome in EXIT_CODES
    verdict = Verdict(outcome, "As planted.", {})  # type: ignore[arg-type]
    state = gate_state(verdict, Run(Path("run")), [])
    assert (state.type.value, state.name) == (kind, name)
    assert state.message == "As planted. Report: run/report.html"


def test_what_is_new_or_worse_has_a_state_of_its_own() -> None:
    verdict = Verdict("FAIL", "As planted.", {})
    state = gate_state(verdict, Run(Path("run")), ["New: hair."])
    assert (state.type.value, state.name) == ("FAILED", "GateWorsened")
    assert state.message == "New: hair. As planted. Report: run/report.html"
