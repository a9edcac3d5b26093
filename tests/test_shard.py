"""A shard against a slow oracle: one picture at a time, masks and acts built by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from audit.config_file import load_config
from audit.context import Context, choose_tests, donors_of
from audit.data.dataset import check_dataset, open_dataset
from audit.interventions import fill
from audit.models.classifier import Classifier
from audit.shard import answered, measure_shard, trials
from tests.tiny import CONFIG, write_tiny

SKY, OBJECT = 2, 1


def context_of(folder: Path, text: str = CONFIG) -> Context:
    """A tiny audit with a random network in place of a trained one."""
    (folder / "audit.yaml").write_text(text)
    config = load_config(folder / "audit.yaml")
    dataset = open_dataset(config)
    samples, _ = check_dataset(dataset, workers=1)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    ).eval()  # fmt: skip
    nn.init.zeros_(module[-1].bias)
    classifier = Classifier(
        module, list(dataset.classes), [0, 1], config.model.input, torch.device("cpu")
    )
    context = Context(
        config, dataset, samples, classifier, "2", donors=donors_of(config, dataset, samples)
    )
    return replace(context, tests=choose_tests(context))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every second picture has no sky; in the others it overlaps the object, which is core."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    for number, path in enumerate(sorted((folder / "masks").glob("test-*.png"))):
        mask = np.array(Image.open(path))
        if number % 2:
            mask[mask == SKY] = 0
        Image.fromarray(mask).save(path)
    return folder


@pytest.fixture(scope="module")
def context(folder: Path) -> Context:
    return context_of(folder)


@pytest.fixture(scope="module")
def done(context: Context) -> dict[str, pd.DataFrame]:
    tables = measure_shard(context, context.audited)
    trials = tables["interventions"]
    texts = ["sample_id", "region", "test", "arm", "fill", "donor_id", "prediction_before"]
    return tables | {"interventions": trials.astype(dict.fromkeys(texts, object))}


def picture(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(Image.open(folder / f"images/{name}.png")) / np.float32(255)
    return pixels, np.asarray(Image.open(folder / f"masks/{name}.png"))


def margin(context: Context, pixels: np.ndarray, answer: str) -> tuple[float, str]:
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    view = context.config.model.input
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (view.mean, view.std))
    with torch.no_grad():
        logits = context.classifier.module((image - mean) / std)[0].tolist()
    classes = context.classifier.classes
    own = classes.index(answer)
    return logits[own] - logits[1 - own], classes[int(np.argmax(logits))]


def check(context: Context, row: dict[str, Any], pixels: np.ndarray) -> None:
    after, prediction = margin(context, pixels, row["prediction_before"])
    assert row["margin_after"] == pytest.approx(after, abs=1e-5)
    assert row["prediction_after"] == prediction


def test_swaps_take_the_union_of_both_regions_from_the_donor_of_the_arm(
    context: Context, done: dict[str, pd.DataFrame], folder: Path
) -> None:
    swaps = done["interventions"].query("test == 'swap'")
    background = context.dataset.rows.set_index("sample_id")["background"]
    assert set(swaps["arm"]) == {"act", "placebo"}
    for row in swaps.to_dict("records"):
        (mine, my_mask), (theirs, their_mask) = (
            picture(folder, row[key]) for key in ("sample_id", "donor_id")
        )
        union = (my_mask == SKY) | (their_mask == SKY)
        check(context, row, np.where(union[..., None], theirs, mine))
        other = background[row["donor_id"]] != background[row["sample_id"]]
        assert other == (row["arm"] == "act")


def test_a_swap_without_the_region_on_either_side_is_no_evidence(
    done: dict[str, pd.DataFrame],
) -> None:
    area = (
        done["interventions"]
        .query("test == 'swap'")
        .pivot(index="sample_id", columns="arm", values="area")
    )
    assert (area.max(axis=1) > 0).all()
    assert len(area) < 32  # some have neither


def test_removals_fill_the_region_and_an_equal_area_that_is_not_core(
    context: Context, done: dict[str, pd.DataFrame], folder: Path
) -> None:
    removals = done["interventions"].query("test == 'removal'")
    with_sky = [
        name
        for name in context.samples["sample_id"].iloc[context.audited].astype(str)
        if (picture(folder, name)[1] == SKY).any()
    ]
    assert sorted(set(removals["sample_id"])) == sorted(with_sky)
    for row in removals.query("arm == 'act'").to_dict("records"):
        pixels, mask = picture(folder, row["sample_id"])
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        sky = torch.from_numpy(mask == SKY)[None]
        filled = fill(row["fill"], image, sky, [0])[0].permute(1, 2, 0).numpy()
        check(context, row, filled)
    area = removals.pivot(index=["sample_id", "fill"], columns="arm", values="area")
    assert (area["act"] == area["placebo"]).all()


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_trials_answered_together_have_the_answers_of_each_alone(
    context: Context, size: int
) -> None:
    config = context.config
    config = config.model_copy(
        update={"execution": config.execution.model_copy(update={"batch_size": size})}
    )
    context = replace(context, config=config)
    batch = context.load(context.audited)
    scored = context.samples.iloc[batch.index].assign(
        prediction=["square", "disc"] * (len(batch.index) // 2)
    )
    asked = list(trials(context, batch, scored.reset_index(drop=True)))
    lengths: list[int] = []
    forward = context.classifier.module.register_forward_pre_hook(
        lambda _, args: lengths.append(len(args[0]))
    )
    together = list(answered(context, asked))
    forward.remove()
    assert [one for one, _ in together] == asked
    for (_, trial, _), logits in together:
        alone = torch.cat([context.forward(image[None]) for image in trial.images])
        torch.testing.assert_close(logits, alone, rtol=0, atol=1e-5)
    largest = max(len(trial.rows) for _, trial, _ in asked)
    assert max(lengths) <= max(size, largest)
    assert sum(lengths) == sum(len(trial.rows) for _, trial, _ in asked)
    if size == 100:
        assert len(lengths) < len(asked)


def test_only_what_is_drawn_is_altered_and_as_it_would_be_anyway(
    context: Context, done: dict[str, pd.DataFrame]
) -> None:
    names = sorted(context.samples["sample_id"].iloc[context.audited])[::3]
    chosen = context.samples["sample_id"].isin(names)
    samples = context.samples.assign(stands_for=chosen * 3.0)
    tables = measure_shard(replace(context, samples=samples), context.audited)
    assert len(tables["attention"]) == len(done["attention"])
    assert len(tables["samples"]) == len(done["samples"])
    key = ["sample_id", "region", "test", "arm", "fill"]
    texts = [*key, "donor_id", "prediction_before", "prediction_after"]
    few, every = (
        table["interventions"].astype(dict.fromkeys(texts, object)).sort_values(key)
        for table in (tables, done)
    )
    kept = every[every["sample_id"].isin(names)]
    assert 0 < len(kept) < len(every)
    pd.testing.assert_frame_equal(
        few.reset_index(drop=True), kept.reset_index(drop=True), atol=1e-5
    )


def test_a_shard_of_which_none_is_drawn(context: Context) -> None:
    samples = context.samples.assign(stands_for=0.0)
    tables = measure_shard(replace(context, samples=samples), context.audited[:3])
    assert len(tables["interventions"]) == 0
    assert len(tables["samples"]) == 3


def test_classes_of_other_roles_are_tested_apart(tmp_path: Path) -> None:
    with_boxes(tmp_path, (8, 8, 24, 24), (0, 0, 32, 10))
    for_square = "  per_class: {square: {core: [sky], allowed: [object], forbidden: []}}\n"
    text = BOXES.replace("forbidden: [sky]}\n", "forbidden: [sky]}\n" + for_square)
    context = context_of(tmp_path, text)
    assert context.alike == [["square"], ["disc"]]
    assert context.tested_on("sky") == [["disc"]]
    assert set(areas(context)["prediction_before"]) == {"disc"}


def test_classes_of_the_same_roles_are_grouped_once(context: Context) -> None:
    assert context.alike == [["square", "disc"]]
    assert context.tested_on("sky") == context.alike
    assert context.alike is context.alike


BOXES = CONFIG.replace(
    "{encoding: codes, column: mask, values: {object: 1, sky: 2}}",
    "{encoding: boxes, columns: {object: [ol, ot, or, ob], sky: [sl, st, sr, sb]}}",
)


def with_boxes(folder: Path, object_box: tuple[int, ...], sky_box: tuple[int, ...]) -> None:
    write_tiny(folder)
    table = pd.read_csv(folder / "manifest.csv")
    columns = ["ol", "ot", "or", "ob", "sl", "st", "sr", "sb"]
    table = table.assign(**dict(zip(columns, (*object_box, *sky_box), strict=True)))
    table.to_csv(folder / "manifest.csv", index=False)


def areas(context: Context) -> pd.DataFrame:
    trials = measure_shard(context, context.audited)["interventions"]
    return trials[trials["test"] == "removal"]


def test_removal_leaves_core_alone(tmp_path: Path) -> None:
    with_boxes(tmp_path, (8, 8, 24, 24), (0, 0, 32, 10))
    removed = areas(context_of(tmp_path, BOXES))
    assert len(removed) > 0
    np.testing.assert_allclose(removed["area"], (32 * 10 - 2 * 16) / 32**2)


def test_a_region_in_core_is_removed_whole(tmp_path: Path) -> None:
    with_boxes(tmp_path, (8, 8, 24, 24), (10, 10, 14, 14))
    removed = areas(context_of(tmp_path, BOXES))
    np.testing.assert_allclose(removed["area"], 4 * 4 / 32**2)


def test_sufficiency_is_for_the_complement_of_core_only(tmp_path: Path) -> None:
    with_boxes(tmp_path, (8, 8, 24, 24), (0, 0, 32, 21))  # no placebo fits, but a third is neither
    assert context_of(tmp_path, BOXES).tests == {"sky": "removal"}
    outside = BOXES.replace(
        "  roles: {core: [object], forbidden: [sky]}",
        "  derived: {rest: {outside: [object]}}\n  roles: {core: [object], forbidden: [rest]}",
    )
    assert context_of(tmp_path, outside).tests == {"rest": "sufficiency"}
