"""Tables read part by part give the evidence that they give in memory."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from audit.errors import RunError
from audit.evidence import ATTENTION_COLUMNS, MAPS_COLUMNS, build_evidence
from audit.evidence.alignment import MOST_CLUSTERS
from audit.parts import Parts
from audit.tables import ATTENTION, INTERVENTIONS, MAPS, empty, write_table
from tests.evidence import planted
from tests.evidence.planted import row
from tests.evidence.test_screen import pictures, screened

NO_TRIALS = empty(INTERVENTIONS)


def stored(folder: Path, maps: pd.DataFrame, attention: pd.DataFrame) -> tuple[Parts, Parts]:
    """Both in files, to be read in parts that end within a sample's rows."""
    write_table(attention, ATTENTION, folder / "attention.parquet")
    write_table(maps, MAPS, folder / "maps.parquet")
    return (
        Parts(folder / "attention.parquet", ATTENTION_COLUMNS, rows=37),
        Parts(folder / "maps.parquet", MAPS_COLUMNS, rows=11),
    )


def test_parts_give_the_same_evidence(tmp_path: Path) -> None:
    samples = planted.samples(160, cluster_size=2, seed=6)
    maps, attention = pictures(samples, {"face": 0.3})
    attention.loc[attention["sample_id"] < "s00009", "area"] = 0.0
    config = planted.config()
    whole = build_evidence(samples, attention, NO_TRIALS, config, maps)
    parts, some_maps = stored(tmp_path, maps, attention)
    found = build_evidence(samples, parts, NO_TRIALS, config, some_maps)
    assert found["measure"].isin(["alignment", "disparity", "share"]).any()
    assert_frame_equal(found, whole, check_exact=True)


def test_a_second_row_in_another_part_is_refused(tmp_path: Path) -> None:
    samples = planted.samples(20)
    maps, attention = pictures(samples, {})
    twice = pd.concat([attention, attention.head(1)], ignore_index=True)
    parts, some_maps = stored(tmp_path, maps, twice)
    with pytest.raises(RunError, match="'s00000' has two rows for grad-cam on 'face'"):
        build_evidence(samples, parts, NO_TRIALS, planted.config(), some_maps)
    parts, some_maps = stored(tmp_path, pd.concat([maps, maps.tail(1)]), attention)
    with pytest.raises(RunError, match="'s00019' has two rows for its map"):
        build_evidence(samples, parts, NO_TRIALS, planted.config(), some_maps)
    with pytest.raises(RunError, match="attention: sample 's00019' is not in the samples table"):
        build_evidence(samples.head(19), attention, NO_TRIALS, planted.config())


def test_alignment_is_of_so_many_clusters_and_says_so() -> None:
    samples = planted.samples(4 * MOST_CLUSTERS)
    found = screened(samples, pictures(samples, {"hair": 0.8}))
    of_class = samples["label"].value_counts()
    for target in planted.CLASSES:
        cell = row(found, measure="alignment", region="hair", target_class=target)
        assert of_class[target] > MOST_CLUSTERS
        assert (cell["n"], cell["clusters"]) == (MOST_CLUSTERS, MOST_CLUSTERS)
        assert cell["excluded"] == int(samples["label"].iloc[0] == target)  # the dead map
        assert cell["p_adjusted"] < 0.05
