"""The right evidence is there to be used: the tools alone tell doctors from nurses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.config_file import SHIPPED, load_config
from audit.data.scenes import generate
from audit.data.scenes.canvas import Code
from audit.runs.files import read_json
from audit.runs.folder import start_or_resume
from audit.steps import fit, prepare

GREY = 128


def hide_all_but_tools(folder: Path) -> None:
    for row in pd.read_csv(folder / "manifest.csv").itertuples():
        picture = np.array(Image.open(folder / str(row.path)))
        picture[np.asarray(Image.open(folder / str(row.mask))) != Code.TOOLS] = GREY
        Image.fromarray(picture).save(folder / str(row.path))


@pytest.mark.slow
def test_a_model_of_the_tools_alone_is_right(tmp_path: Path) -> None:
    demo = SHIPPED / "demo-rebalanced.yaml"
    scenes = generate(tmp_path / "scenes", load_config(demo).data.scenes)
    hide_all_but_tools(scenes)
    settings = {
        "data.source": "manifest",
        "data.root": str(scenes),
        "data.train": "{split: train}",
        # The audit needs rows of its own: those of one skin tone.
        "data.validation": "{split: test, skin_tone: [fair, light, olive, brown]}",
        "data.audit": "{split: test, skin_tone: dark}",
    }
    run = start_or_resume(load_config(demo, settings), tmp_path / "run")
    prepare(run)
    fit(run)
    history = read_json(run.model / "card.json")["history"]
    assert history[-1]["validation_accuracy"] >= 0.95
