"""What a preview tells before a run, beside the facts that tests of the command line look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from audit.config_file import load_config
from audit.errors import ModelError
from audit.preview import preview
from tests.tiny import write_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path)


def warnings(path: Path, **overrides: str) -> list[str]:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return preview(load_config(path, dotted | {"interventions.swap": "null"})).warnings


def test_a_model_that_cannot_be_audited_is_told_before_it_is_trained(tiny: Path) -> None:
    softmax = {"model.architecture": "tests.models.toys:softmax", "model.arguments": "{}"}
    with pytest.raises(ModelError, match="ends in a softmax"):
        preview(load_config(tiny, softmax))


def test_clusters_that_training_and_audit_share_are_counted(tiny: Path) -> None:
    apart = warnings(tiny)
    shared = warnings(tiny, data__columns="{cluster_id: pair}")
    assert not any("share" in warning for warning in apart)
    assert any(warning.startswith("training and audit share 8 clusters") for warning in shared)


def test_the_cost_names_what_it_leaves_out(tiny: Path) -> None:
    def cost(**overrides: str) -> str:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return preview(load_config(tiny, dotted)).facts["cost"]

    left_out = "the checks of the explainer (5 pictures) and the search for cues (32 pictures)"
    assert cost(checks__samples="5").endswith(f"; besides, not counted: {left_out}")
    assert cost(checks__enabled="false").endswith("counted: the search for cues (32 pictures)")
    assert "counted" not in cost(checks__enabled="false", discovery__enabled="false")


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pictures_whose_masks_may_lie_otherwise_are_counted(tiny: Path, orientation: int) -> None:
    """They are square, so the size of a mask does not tell whether it was turned with them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("test-disc-dark-0", "test-disc-dark-1"):
        path = tiny.parent / "images" / f"{name}.png"
        Image.open(path).save(path, exif=exif)
    told = [warning for warning in warnings(tiny) if "EXIF" in warning]
    assert [warning.split()[0] for warning in told] == ([] if orientation == 1 else ["2"])
