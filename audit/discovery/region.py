"""A cue that a user named, as a region: a data set and an audit that put it to the full test.

The folder holds the audited pictures of all clusters but those that the cue was found on, with the
masks of every annotated region and of the new one, a manifest and ``audit.yaml``. The new region
is the patch of each picture that belongs to the cue, and empty in the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from audit.atomic import replacing_folder
from audit.config import Audit
from audit.config_file import dump_config
from audit.context import Context
from audit.data.dataset import open_dataset
from audit.discovery.features import Positions, chosen_samples, read_features
from audit.discovery.groups import Space, finding_half, nearest, space_of
from audit.discovery.patches import strongest
from audit.errors import ConfigError, RunError
from audit.geometry import View, view_of
from audit.runs.folder import Run
from audit.tables import CUES, read_table

NAME = re.compile(r"[\w][\w .-]{0,63}")
ID, PATH, LABEL, CLUSTER = "audited_id", "audited_path", "audited_label", "audited_cluster"

Masks = npt.NDArray[np.bool_]
Told = Callable[[int, int], None]


def export_region(context: Context, run: Run, cue: int, name: str, output: Path, told: Told) -> int:
    """Write a named cue as a data set with its audit; returns how many pictures show it.

    Parameters
    ----------
    context
        Of the run: data, model, layer.
    run
        A finished run that looked for cues.
    cue
        Its number.
    name
        Of the new region.
    output
        A folder that is not there yet, or empty.
    told
        Called with the number of pictures done and of all.

    Raises
    ------
    ConfigError
        If the name cannot be used or is taken, or the folder is not empty.
    RunError
        If the run has no such cue, or it is not found again.
    DataError
        If what was written cannot be opened as a data set.
    """
    _check_name(context.config, name)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        _refuse_occupied(output)
    sought = _cue_of(run, cue)
    positions, patches = members_of(context, sought, told)
    with replacing_folder(output, keep=_refuse_occupied) as draft:
        for folder in ("pictures", "masks"):
            (draft / folder).mkdir()
        rows = []
        for number, position in enumerate(positions):
            rows.append(
                _write_sample(context, int(position), number, patches.get(int(position)), draft)
            )
            told(number + 1, len(positions))
        regions = [*context.config.regions.annotated, name]
        _manifest(context, positions, rows, regions).to_csv(draft / "manifest.csv", index=False)
        open_dataset(config_with(context, run, sought.target, name, draft))
        config = config_with(context, run, sought.target, name, output)
        (draft / "audit.yaml").write_text(dump_config(config), encoding="utf-8")
    return len(patches)


def _refuse_occupied(output: Path) -> NoReturn:
    raise ConfigError(f"{output}: exists already and is not empty; choose another --output")


@dataclass(frozen=True)
class Sought:
    """A cue as the run tells of it: its class, which group of that, how many samples made it."""

    target: str
    group: int
    found_on: int


def members_of(context: Context, cue: Sought, told: Told) -> tuple[Positions, dict[int, Masks]]:
    """The audited samples that may test a cue, and the cells ``[h, w]`` of its patch in them.

    The groups are found again as the run found them, on the same samples. All other audited
    samples follow, less the clusters that the groups were found on: who found a cue cannot test it.

    Raises
    ------
    RunError
        If the group is not there, or was made by another number of samples.
    """
    config, chosen = context.config, chosen_samples(context)
    seen = read_features(context, chosen, lambda done: told(done, len(chosen)), whole=False)
    target = context.classifier.classes.index(cue.target)
    space = _same_space(space_of(seen, target, config.discovery.cues, config.seed), cue)
    cluster = context.samples["cluster_id"].astype(str).to_numpy(object)
    found_on = set(cluster[chosen[finding_half(seen.cluster, config.seed)]])
    audited = context.audited
    fresh = audited[[name not in found_on for name in cluster[audited]]]
    cells: dict[int, Masks] = {}
    size = config.execution.shard_size
    for start in range(0, len(fresh), size):
        cells |= _cells(context, fresh[start : start + size], space, target, cue.group)
        told(min(start + size, len(fresh)), len(fresh))
    return fresh, cells


def _same_space(space: Space | None, cue: Sought) -> Space:
    if space is None or cue.group >= len(space.centres) or space.sizes[cue.group] != cue.found_on:
        raise RunError("the cue is not found again; was the run made with another version?")
    return space


def _cells(
    context: Context, positions: Positions, space: Space, target: int, group: int
) -> dict[int, Masks]:
    """Of some samples those that belong to a group, with the cells of their patch."""
    features = read_features(context, positions, whole=False)
    of_class = np.flatnonzero(features.live & (features.predicted == target))
    members = of_class[nearest(space, features.attended[of_class])[group]]
    cells = strongest(torch.from_numpy(features.maps[members])).numpy()
    return {int(positions[m]): own for m, own in zip(members, cells, strict=True)}


def on_picture(cells: Masks, view: View) -> Masks:
    """Cells of the model's grid as pixels ``[H, W]`` of the picture; none outside its view.

    Examples
    --------
    >>> view = View((2, 4), (0.0, 0.0, 2.0, 4.0), (8, 8))
    >>> on_picture(np.array([[True, False]]), view).astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0]])
    """
    (height, width), (top, left, bottom, right) = view.source, view.box
    rows = np.floor((np.arange(height) + 0.5 - top) / (bottom - top) * cells.shape[0]).astype(int)
    columns = np.floor((np.arange(width) + 0.5 - left) / (right - left) * cells.shape[1]).astype(
        int
    )
    padded = np.pad(cells, 1)  # what lies outside the view falls into the border
    rows, columns = (
        np.clip(at, -1, size) + 1 for at, size in zip((rows, columns), cells.shape, strict=True)
    )
    inside: Masks = padded[rows[:, None], columns[None]]
    return inside


def _write_sample(
    context: Context, position: int, number: int, cells: Masks | None, folder: Path
) -> dict[str, str]:
    """One picture with its masks; returns the columns of its row by region and for the picture."""
    dataset, regions = context.dataset, context.config.regions
    example = dataset.load(position)
    height, width = example.picture.shape[:2]
    new = np.zeros((height, width), dtype=np.bool_)
    if cells is not None:
        new = on_picture(cells, view_of((height, width), context.config.model.input))
    picture = f"pictures/{number:06d}.png"
    Image.fromarray(example.picture).save(folder / picture, compress_level=1)
    row = {PATH: picture}
    annotated = example.masks[: len(regions.annotated)]
    for index, mask in enumerate([*annotated, new]):
        path = f"masks/{number:06d}-{index}.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / path)
        row[f"mask {index}"] = path
    return row


def _manifest(
    context: Context, positions: Positions, rows: list[dict[str, str]], regions: list[str]
) -> pd.DataFrame:
    """The manifest's own columns, and those that this module adds.

    Of multi-label data the labels' columns stay what the classes are read from.
    """
    data = context.config.data
    own = context.dataset.rows.iloc[positions].reset_index(drop=True)
    samples = context.samples.iloc[positions].reset_index(drop=True)
    added = pd.DataFrame(rows, columns=[PATH, *(f"mask {i}" for i in range(len(regions)))])
    for column, source in ((ID, "sample_id"), (CLUSTER, "cluster_id")):
        added[column] = samples[source].astype(str)
    if data.label_columns:
        own = own.drop(columns=data.columns.label)
    else:
        added[LABEL] = samples["label"].astype(str)
    return pd.concat([own.drop(columns=list(added.columns), errors="ignore"), added], axis=1)


def config_with(context: Context, run: Run, target: str, name: str, root: Path) -> Audit:
    """The run's audit on the data set in ``root``; its region is forbidden for the cue's class."""
    tree: dict[str, Any] = context.config.model_dump(mode="json")
    regions, data = [*context.config.regions.annotated, name], context.config.data
    label = data.columns.label if data.label_columns else LABEL
    tree["name"] = f"{tree['name']}-{re.sub('[^A-Za-z0-9._-]', '-', name)}"[:64]
    tree["data"] |= {
        "source": "manifest",
        "root": str(root.resolve()),
        "manifest": "manifest.csv",
        "columns": {"sample_id": ID, "path": PATH, "label": label, "cluster_id": CLUSTER},
        "classes": context.dataset.classes,
        "train": None,
        "audit": {},
    }
    columns = {region: f"mask {index}" for index, region in enumerate(regions)}
    tree["regions"]["source"] = {"encoding": "masks", "columns": columns}
    of_class = tree["regions"]["per_class"].setdefault(target, {})
    of_class["forbidden"] = [*of_class.get("forbidden", []), name]
    if tree["policy"]["required"] is not None:
        tree["policy"]["required"].append(name)
    if context.config.model.trains:
        weights = run.model / "model.safetensors"
        tree["model"] |= {"checkpoint": str(weights.resolve()), "initial_weights": None}
    return Audit.model_validate(tree)


def _check_name(config: Audit, name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: must be letters, digits, ' ', '_', '.' or '-'")
    if name in config.regions.names:
        raise ConfigError(f"--name {name}: a region already; choose another name")


def _cue_of(run: Run, cue: int) -> Sought:
    cues = read_table(run.table("cues"), CUES, ["cue", "target_class", "group", "found_on"])
    found = cues[cues["cue"] == cue]
    if found.empty:
        there = ", ".join(map(str, sorted(cues["cue"]))) or "none"
        raise RunError(f"{run.folder}: no cue {cue}; there are: {there}")
    row = found.iloc[0]
    return Sought(str(row["target_class"]), int(row["group"]), int(row["found_on"]))
