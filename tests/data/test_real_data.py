"""Real data sets open whole: nothing is quarantined that should not be."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from audit.config import Audit
from audit.data import batches, check_dataset, open_dataset, quarantine_limit

DATA = Path(os.environ.get("CUECHECK_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "occupations").is_dir(), reason="CUECHECK_DATA names no folder of real data"
)

OCCUPATIONS = {
    "name": "occupations",
    "data": {
        "root": DATA / "occupations",
        "columns": {"cluster_id": "cluster_id"},
        "attributes": ["gender", "skin_tone"],
        "crossed": [["gender", "skin_tone"]],
        "train": {"split": "train", "aligned": 1},
        "audit": {"split": "test"},
    },
    "regions": {
        "source": {
            "encoding": "codes",
            "values": {"skin": 1, "hair": 2, "clothing": 3, "outline": 4},
        },
        "derived": {"background": {"outside": ["skin", "hair", "clothing", "outline"]}},
    },
}
CHEST = {
    "name": "chest-xray",
    "data": {
        "root": DATA / "chest-xray",
        "columns": {"cluster_id": "cluster_id"},
        "attributes": ["source_group", "sex"],
        "train": {"split": "train", "label": ["covid19", "normal"]},
        "validation": {"split": "val", "label": ["covid19", "normal"]},
        "audit": {"split": "test", "label": ["covid19", "normal"]},
    },
    "regions": {
        "source": {"encoding": "codes", "values": {"lungs": 1}},
        "derived": {"outside": {"outside": ["lungs"]}},
    },
}


@pytest.mark.parametrize("settings", [OCCUPATIONS, CHEST], ids=lambda settings: settings["name"])
def test_real_data_is_read_whole(settings: dict) -> None:
    dataset = open_dataset(Audit.model_validate(settings))

    samples, properties = check_dataset(dataset, workers=2)
    areas = np.stack(properties["areas"].to_list())

    quarantine_limit(samples, 0)
    assert np.isfinite(areas).all()
    np.testing.assert_allclose(areas[:, -1] + areas[:, :-1].sum(axis=1), 1, atol=1e-5)
    assert samples["sample_id"].is_unique
    assert {"train", "validation", "audit"} == set(samples["part"])


def test_occupations_as_described() -> None:
    samples = open_dataset(Audit.model_validate(OCCUPATIONS)).samples
    audited = samples[samples["part"] == "audit"]
    assert audited["label"].value_counts().to_dict() == {"care": 128, "tech": 128}
    assert set(samples["attribute:gender"]) == {"man", "woman"}
    assert samples["attribute:gender x skin_tone"].nunique() == 10


def test_chest_attributes_keep_the_unknown() -> None:
    samples = open_dataset(Audit.model_validate(CHEST)).samples
    assert samples["attribute:sex"].value_counts().idxmax() == "unknown"


def test_masks_lie_on_the_people() -> None:
    """The background of the emoji art is plain, so it varies less than the person does."""
    config = Audit.model_validate(OCCUPATIONS)
    dataset = open_dataset(config)
    batch = next(batches(dataset, range(16), config.model.input, batch_size=16, workers=2))
    images, outside = batch.images.float(), batch.coverage[:, -1:] > 0.999
    inside = ~outside

    def spread(chosen):
        pairs = zip(images, chosen, strict=True)
        return np.array([image[mask.expand(3, -1, -1)].std() for image, mask in pairs])

    assert (spread(outside) < spread(inside)).all()
