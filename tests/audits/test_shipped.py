"""Whole audits: the demo, and real pictures from the folder that CUECHECK_DATA names."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.config_file import SHIPPED, load_config
from audit.gate import Verdict
from audit.runs.folder import start_or_resume
from audit.tables import OK, SAMPLES, read_table
from flows.direct import run_directly

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

needs_real_data = pytest.mark.skipif(
    not Path(os.environ.get("CUECHECK_DATA", "")).joinpath("occupations").is_dir(),
    reason="CUECHECK_DATA does not name a folder with the real pictures",
)


@pytest.fixture(scope="session")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a shipped audit once per session; returns its folder."""

    @cache
    def run(name: str) -> Path:
        config = load_config(SHIPPED / f"{name}.yaml")
        started = start_or_resume(config, tmp_path_factory.mktemp(name) / "run")
        run_directly(started)
        return started.folder

    return run


def verdict(run: Path) -> str:
    return Verdict.read(run / "verdict.json").verdict


def findings(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    read = json.loads((run / "findings.json").read_text())["findings"]
    return {(f["region"], f["target_class"]): f for f in read}


def right(run: Path) -> pd.DataFrame:
    """The audited samples, with a column ``right``: whether the prediction is the label."""
    samples = read_table(run / "samples.parquet", SAMPLES)
    audited = samples[(samples["part"] == "audit") & (samples["status"] == OK)]
    return audited.assign(right=audited["prediction"].astype(str) == audited["label"].astype(str))


def test_demo_fails_on_face_or_hair(audits: Any) -> None:
    run = audits("demo")
    assert verdict(run) == "FAIL"
    confirmed = {region for (region, _), f in findings(run).items() if f["status"] == "CONFIRMED"}
    assert confirmed & {"face", "hair"}
    assert (run / "report.html").stat().st_size < 8_000_000
    assert len(right(run)) >= 800


def test_rebalanced_demo_passes_and_is_more_accurate(audits: Any) -> None:
    before, after = audits("demo"), audits("demo-rebalanced")
    assert verdict(after) == "PASS"
    assert right(after)["right"].mean() >= right(before)["right"].mean() + 0.05


@needs_real_data
def test_occupations_trained_on_aligned_pictures_fail(audits: Any) -> None:
    run = audits("occupations")
    assert verdict(run) == "FAIL"
    assert "CONFIRMED" in {
        f["status"] for (region, _), f in findings(run).items() if region == "head"
    }
    rate = right(run).groupby("attribute:aligned", observed=True)["right"].mean()
    assert rate["1"] - rate["0"] >= 0.25
    acts = next(f for f in findings(run).values() if f["status"] == "CONFIRMED")["acts"]
    assert {act["act"] for act in acts} == {"remove:blur", "remove:local-mean", "swap"}
    assert all(act["lower_limit"] > 0.05 for act in acts)


@needs_real_data
def test_occupations_trained_on_all_do_not_fail(audits: Any) -> None:
    run = audits("occupations-all")
    assert verdict(run) != "FAIL"
    rate = right(run).groupby("attribute:aligned", observed=True)["right"].mean()
    assert abs(rate["1"] - rate["0"]) < 0.08


@needs_real_data
def test_chest_xray_rests_on_what_is_outside_the_lungs(audits: Any) -> None:
    run = audits("chest-xray")
    assert verdict(run) == "FAIL"
    finding = findings(run)["outside_lungs", "*"]
    assert (finding["status"], finding["test"]) == ("CONFIRMED", "sufficiency")
