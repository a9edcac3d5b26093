"""One logit for two classes, and a multi-label head audited label by label, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from audit.config_file import load_config
from audit.labels import per_label
from audit.models.small_cnn import SmallCNN
from audit.runs.folder import Run, start_or_resume
from audit.tables import ATTENTION, EVIDENCE, INTERVENTIONS, MAPS, SAMPLES, read_table
from flows import cli
from flows.direct import run_directly
from tests.multilabel import LABELS, Three, write_multilabel
from tests.tiny import CONFIG, write_tiny

MODULE = "tests.audits.test_labels"
EXACT = CONFIG.replace("device: cpu", "device: cpu, precision: float32")


def single_logit(width: int = 8) -> nn.Module:
    """One logit as [B, 1]."""
    return SmallCNN(num_classes=1, width=width)


class Flat(nn.Module):
    """One logit as [B]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.net = single_logit(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logit: torch.Tensor = self.net(images)
        return logit.squeeze()


def _pixels(folder: Path, paths: pd.Series, mean: object, std: object) -> torch.Tensor:
    pictures = np.stack([np.asarray(Image.open(folder / path)) for path in paths])
    normal = (pictures / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(normal).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained audit of the single-logit model."""
    folder = tmp_path_factory.mktemp("single")
    path = write_tiny(folder)
    path.write_text(
        EXACT.replace("model:\n", f"model:\n  architecture: '{MODULE}:single_logit'\n").replace(
            "epochs: 2", "epochs: 8"
        )
    )
    run = start_or_resume(load_config(path), folder / "run")
    run_directly(run)
    return folder


def test_a_single_logit_is_trained_and_audited_as_two_classes(single: Path) -> None:
    run = Run(single / "run")
    samples = read_table(run.table("samples"), SAMPLES)
    audited = samples[samples["part"] == "audit"].astype({"prediction": str, "label": str})
    model = single_logit().eval()
    model.load_state_dict(load_file(run.model / "model.safetensors"))
    view = load_config(single / "audit.yaml").model.input
    with torch.no_grad():
        z = model(_pixels(single, audited["path"], view.mean, view.std))[:, 0].numpy()
    assert audited["prediction"].tolist() == np.where(z > 0, "disc", "square").tolist()
    right = np.where(audited["label"] == "disc", z, -z)
    np.testing.assert_allclose(audited["margin"], np.abs(z), atol=1e-4)
    np.testing.assert_allclose(audited["true_margin"], right, atol=1e-4)
    np.testing.assert_allclose(audited["score"], 1 / (1 + np.exp(-np.abs(z))), atol=1e-4)
    card = json.loads((run.model / "card.json").read_text())
    assert card["history"][-1]["train_loss"] < card["history"][0]["train_loss"]


def test_of_a_single_logit_the_two_maps_are_opposite(single: Path) -> None:
    maps = read_table(Run(single / "run").table("maps"), MAPS)
    maps["target_class"] = maps["target_class"].astype(str)
    by_class = maps.drop_duplicates(["sample_id", "target_class"]).pivot(
        index="sample_id", columns="target_class", values="map"
    )
    both = by_class.dropna()  # where label and prediction differ
    assert len(both) > 0
    for square, disc in zip(both["square"], both["disc"], strict=True):
        np.testing.assert_allclose(square, -disc, atol=1e-6)


def test_a_single_logit_without_its_axis_gives_the_same_audit(single: Path, tmp_path: Path) -> None:
    weights = load_file(single / "run" / "model" / "model.safetensors")
    torch.save({f"net.{name}": value for name, value in weights.items()}, tmp_path / "w.pt")
    path = write_tiny(tmp_path / "data")
    text = EXACT.replace("  train: {epochs: 2, batch_size: 16}\n", "")
    path.write_text(
        text.replace(
            "model:\n", f"model:\n  architecture: '{MODULE}:Flat'\n  checkpoint: ../w.pt\n"
        )
    )
    run = start_or_resume(load_config(path), tmp_path / "run")
    run_directly(run)
    for table in (SAMPLES, INTERVENTIONS, ATTENTION):
        first = read_table(single / "run" / f"{table.name}.parquet", table)
        second = read_table(run.table(table.name), table)
        pd.testing.assert_frame_equal(first, second, check_categorical=False, atol=1e-5)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All labels of the multi-label model, audited by one command."""
    folder = tmp_path_factory.mktemp("labels")
    arguments = ["run", str(write_multilabel(folder)), "--no-prefect", "--gate", "--quiet"]
    done = CliRunner().invoke(cli.app, [*arguments, "--out", str(folder / "runs")])
    assert done.exit_code == 1, done.output  # one label fails
    return folder


def _findings(folder: Path, label: str) -> list[dict[str, object]]:
    path = folder / "runs" / f"things.{label}" / "findings.json"
    return list(json.loads(path.read_text())["findings"])


def test_each_label_gets_its_own_verdict(labels: Path) -> None:
    verdicts = {
        label: json.loads((labels / f"runs/things.{label}/verdict.json").read_text())["verdict"]
        for label in LABELS
    }
    assert verdicts == {"red": "PASS", "tagged": "FAIL", "large": "PASS"}


def test_findings_say_which_label_rests_on_the_tag(labels: Path) -> None:
    for label, status in (("red", "CLEARED"), ("tagged", "CONFIRMED"), ("large", "CLEARED")):
        found = _findings(labels, label)
        assert {finding["target_class"] for finding in found} == {label, f"not {label}"}
        assert {finding["status"] for finding in found} == {status}
    every = [finding["fingerprint"] for label in LABELS for finding in _findings(labels, label)]
    assert len(set(every)) == 2 * len(LABELS)


def test_a_label_s_numbers_are_those_of_its_own_logit(labels: Path) -> None:
    model = Three().eval()
    view = load_config(labels / "audit.yaml").model.input
    truth = pd.read_csv(labels / "manifest.csv").set_index("sample_id")
    yes = {"is_red": 1, "is_tagged": 1, "is_large": "yes"}
    for index, (label, (column, value)) in enumerate(zip(LABELS, yes.items(), strict=True)):
        run = labels / "runs" / f"things.{label}"
        samples = read_table(run / "samples.parquet", SAMPLES)
        with torch.no_grad():
            z = model(_pixels(labels, samples["path"], view.mean, view.std))[:, index].numpy()
        np.testing.assert_allclose(samples["margin"], np.abs(z), atol=1e-3)
        np.testing.assert_allclose(samples["score"], 1 / (1 + np.exp(-np.abs(z))), atol=1e-4)
        predicted = np.where(z > 0, label, f"not {label}")
        assert samples["prediction"].astype(str).tolist() == predicted.tolist()
        holds = truth.loc[samples["sample_id"], column].to_numpy() == value
        expected = np.where(holds, label, f"not {label}")
        assert samples["label"].astype(str).tolist() == expected.tolist()


def test_attention_of_a_label_is_on_what_it_reads(labels: Path) -> None:
    for label, region in (("red", "object"), ("tagged", "tag"), ("large", "object")):
        evidence = read_table(labels / f"runs/things.{label}/evidence.parquet", EVIDENCE)
        share = evidence[
            (evidence["measure"] == "share")
            & (evidence["attribute"] == "*")
            & (evidence["target_class"] == label)
            & (evidence["act"] == "explain:grad-cam")
        ]
        by_region = share.set_index(share["region"].astype(str))["effect"]
        assert by_region.idxmax() == region


def test_a_finished_label_is_not_run_again(labels: Path) -> None:
    record = labels / "runs" / "things.red" / "record.json"
    before = record.stat().st_mtime_ns
    for audit in per_label(load_config(labels / "audit.yaml", {"data.target": "red"})):
        run_directly(start_or_resume(audit, labels / "runs" / audit.name))
    assert record.stat().st_mtime_ns == before


def test_a_label_s_run_folder_stands_for_that_label_alone(labels: Path) -> None:
    stored = load_config(labels / "runs" / "things.tagged" / "config.yaml")
    assert per_label(stored) == [stored]
    assert stored.data.target == "tagged"
