"""The pictures that a run keeps: what is told of each agrees with the run's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit import tables


def test_each_picture_has_scores_shares_and_maps_of_both_classes(finished: Path) -> None:
    told = json.loads((finished / "pictures" / "pictures.json").read_text())["pictures"]
    attention = tables.read_table(
        finished / "attention.parquet", tables.ATTENTION, where={"method": "grad-cam"}
    ).set_index(["sample_id", "explained", "region"])
    raw = tables.read_table(finished / "maps.parquet", tables.MAPS)
    grids = raw.set_index(["sample_id", "explained"])["map"].map(min)
    samples = tables.read_table(finished / "samples.parquet", tables.SAMPLES)
    scores = samples[samples["part"] == "audit"].set_index("sample_id")["score"]
    assert told
    for one in told:
        for explained, shares in (("true", "true_shares"), ("predicted", "shares")):
            for region, share in one[shares].items():
                row = attention.loc[(one["sample_id"], explained, region)]
                assert share == pytest.approx(row["share"])
        assert one["score"] == pytest.approx(scores[one["sample_id"]])
        right = one["label"] == one["prediction"]
        assert (one["true_score"] == pytest.approx(one["score"], abs=1e-5)) == right
        maps = one["maps"]
        for explained in ("true", "predicted"):
            assert explained in maps
            assert (f"against-{explained}" in maps) == (grids[one["sample_id"], explained] < 0)
        assert (maps["true"] == maps["predicted"]) == right
        for name in (*maps.values(), one["original"]):
            assert (finished / "pictures" / name).is_file()
        assert (one["chosen_for"] == "extreme") == (one["chosen_region"] is not None)
    assert {"extreme", "typical"} <= {one["chosen_for"] for one in told}
