"""Everything that discovery puts into a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from audit.atomic import replacing_folder
from audit.context import Context
from audit.discovery.cues import Found, find_cues
from audit.discovery.features import Features, chosen_samples, read_features
from audit.discovery.neurons import name_neurons
from audit.discovery.patches import patch_of
from audit.pictures import outline_path
from audit.runs.files import write_json
from audit.runs.folder import Run
from audit.tables import CUE_ASSOCIATIONS, CUES, NEURONS, empty, write_table

Progress = Callable[[str, int, int], None]

FOLDER = "cues"  # pictures of the cues, and pictures.json


def discover(context: Context, run: Run, progress: Progress) -> None:
    """Write the tables ``neurons``, ``cues`` and ``cue_associations`` and the folder ``cues/``."""
    positions = chosen_samples(context)
    count = len(positions)
    neurons, found, drawn = empty(NEURONS), Found(empty(CUES), empty(CUE_ASSOCIATIONS)), None
    if count:
        drawn = features = read_features(
            context, positions, lambda done: progress("look for cues", done, count)
        )
        neurons = name_neurons(features, context.classifier.classes, context.config)
        found = find_cues(
            context, features, lambda done, of: progress("intervene on cues", done, of)
        )
    write_table(neurons, NEURONS, run.table("neurons"))
    write_table(found.cues, CUES, run.table("cues"))
    write_table(found.associations, CUE_ASSOCIATIONS, run.table("cue_associations"))
    _write_pictures(context, drawn, found, run.folder / FOLDER)


def _write_pictures(
    context: Context, features: Features | None, found: Found, folder: Path
) -> None:
    """The typical samples of every cue with their patches outlined; replaced as a whole."""
    with replacing_folder(folder) as temporary:
        described = []
        if features is not None:
            for _, row in found.cues.iterrows():
                described += _drawn(context, features, row, temporary)
        write_json(temporary / "pictures.json", {"pictures": described})


def _drawn(
    context: Context, features: Features, row: pd.Series[Any], folder: Path
) -> list[dict[str, Any]]:
    ids = context.samples["sample_id"].astype(str).to_numpy(object)[features.positions]
    at = np.array([int(np.flatnonzero(ids == name)[0]) for name in row["typical"]])
    batch = context.load(features.positions[at])
    height, width = batch.images.shape[-2:]
    patches = patch_of(torch.from_numpy(features.maps[at]), (height, width)).numpy()
    pixels = batch.images.permute(0, 2, 3, 1).cpu().numpy()
    described = []
    for i, name in enumerate(row["typical"]):
        file = f"{row['cue']:02d}-{i}.webp"
        Image.fromarray(pixels[i]).save(folder / file, quality=82, method=4)
        described.append(
            {
                "cue": int(row["cue"]),
                "sample_id": str(name),
                "label": str(context.samples["label"].iloc[batch.index[i]]),
                "file": file,
                "size": [height, width],
                "patch": outline_path(patches[i]),
            }
        )
    return described
