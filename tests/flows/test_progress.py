from __future__ import annotations

import pytest

from flows import progress


def test_without_a_terminal_a_stage_is_told_at_its_start_and_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = {"now": 0.0}
    lines = progress.Lines(lambda: clock["now"])
    for clock["now"], stage, done, total in (
        *((0.0, "check data", 0, 2000), (1.0, "check data", 1000, 2000)),
        *((2.0, "train epoch 1 of 2", 1, 8), (3.0, "train epoch 2 of 2", 5, 8)),
        *((31.9, "train epoch 2 of 2", 6, 8), (32.0, "train epoch 2 of 2", 7, 8)),
    ):
        lines(stage, done, total)
    assert capsys.readouterr().err.splitlines() == [
        *("check data: 0 of 2,000", "train epoch 1 of 2: 1 of 8", "train epoch 2 of 2: 7 of 8")
    ]


@pytest.mark.parametrize(("quiet", "told"), [(False, "check data: 1 of 2\n"), (True, "")])
def test_quiet_is_quiet_and_nobody_listens_afterwards(
    capsys: pytest.CaptureFixture[str], quiet: bool, told: str
) -> None:
    with progress.shown(quiet):
        progress.report("check data", 1, 2)
    progress.report("train", 1, 2)
    assert capsys.readouterr().err == told
