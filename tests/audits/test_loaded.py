"""Models trained elsewhere: a state dict in two formats, a factory, and real ImageNet weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torchvision.models import resnet18

from audit.config_file import load_config
from audit.errors import RunError
from audit.judgement import today
from audit.release import Release, check_release
from audit.runs.folder import Run, start_or_resume
from audit.tables import SAMPLES, read_table
from flows.direct import run_directly
from tests.tiny import CONFIG, write_tiny

LOADED = CONFIG.replace("  arguments: {width: 8}\n", "MODEL").replace(
    "  train: {epochs: 2, batch_size: 16}\n", ""
)


def _audit(folder: Path, model: str) -> Path:
    path = write_tiny(folder, per_cell=2)
    path.write_text(LOADED.replace("MODEL", model).replace("min_clusters: 5", "min_clusters: 2"))
    run = start_or_resume(load_config(path), folder / "run")
    run_directly(run)
    return run.folder


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_torchvision_architecture_with_a_state_dict(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    model = resnet18(num_classes=2).eval()
    weights = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": model.state_dict()}, weights)
    else:
        save_file(model.state_dict(), weights)
    run = _audit(tmp_path / "audit", f"  architecture: resnet18\n  checkpoint: {weights}\n")
    samples = read_table(run / "samples.parquet", SAMPLES)
    audited = samples[samples["part"] == "audit"]
    config = load_config(tmp_path / "audit" / "audit.yaml").model.input
    pixels = np.stack(
        [np.asarray(Image.open(tmp_path / "audit" / path)) for path in audited["path"]]
    )
    normal = (pixels / 255 - np.array(config.mean)) / np.array(config.std)
    with torch.no_grad():
        logits = model(torch.from_numpy(normal).permute(0, 3, 1, 2).float())
    expected = np.array(["square", "disc"])[logits.argmax(1)]
    assert audited["prediction"].astype(str).tolist() == expected.tolist()
    layer = json.loads((run / "provenance.json").read_text())["layer"]
    assert layer == "layer3"  # of 32 pixels layer4 makes a single cell
    check_release(Run(run), Release(model=weights), today())
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(RunError, match=rf"weights\{suffix} has the SHA-256"):
        check_release(Run(run), Release(model=weights), today())


def test_users_own_factory_without_guided_backprop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ward.py").write_text(
        "import torch\nfrom torchvision.models import mobilenet_v3_small\n"
        "def net():\n    torch.manual_seed(0)\n    return mobilenet_v3_small(num_classes=2)\n"
    )
    monkeypatch.chdir(tmp_path)
    run = _audit(tmp_path / "audit", "  architecture: 'ward:net'\n  pretrained: true\n")
    reason = json.loads((run / "provenance.json").read_text())["no_guided_grad_cam"]
    assert "Hardswish" in reason


def test_imagenet_weights_on_real_photographs(tmp_path: Path) -> None:
    """Crops of two photographs, a temple and a flower, each with the box of its subject."""
    pytest.importorskip(
        "efficientnet_lite_pytorch", reason="the extra cuecheck[imagenet] is not installed"
    )
    rows = []
    names = {"china.jpg": "palace", "flower.jpg": "daisy"}
    boxes = {"china.jpg": (60, 120, 600, 330), "flower.jpg": (150, 60, 470, 370)}
    (tmp_path / "photos").mkdir()
    photos = load_sample_images()
    for file, pixels in zip(photos.filenames, photos.images, strict=True):
        name = Path(file).name
        for i, shift in enumerate(range(0, 64, 16)):
            picture = Image.fromarray(pixels[:, shift : shift + 570])
            picture.save(tmp_path / f"photos/{i}-{name}", quality=95)
            left, top, right, bottom = boxes[name]
            rows.append(
                {
                    "sample_id": f"{name}-{i}",
                    "path": f"photos/{i}-{name}",
                    "label": names[name],
                    "photo": name,
                    **dict(zip("ltrb", (left - shift, top, right - shift, bottom), strict=True)),
                }
            )
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    classes = ["palace", "daisy"]
    outputs = [f"class {i}" for i in range(1000)]
    outputs[698], outputs[985] = classes
    (tmp_path / "classes.txt").write_text("\n".join(outputs))
    (tmp_path / "audit.yaml").write_text(
        """\
name: photographs
data:
  root: .
  columns: {cluster_id: photo}
  classes: [palace, daisy]
regions:
  source: {encoding: boxes, columns: {subject: [l, t, r, b]}}
  derived: {surroundings: {outside: [subject]}}
  roles: {core: [subject], forbidden: [surroundings]}
model:
  architecture: audit.models.efficientnet_lite:lite0
  pretrained: true
  outputs: classes.txt
  input:
    size: [224, 224]
    resize: crop
    shorter_side: 256
    mean: [0.498, 0.498, 0.498]
    std: [0.502, 0.502, 0.502]
execution: {device: cpu}
statistics: {resamples: 199}
output: {pictures: 4}
"""
    )
    run = start_or_resume(load_config(tmp_path / "audit.yaml"), tmp_path / "run")
    run_directly(run)
    samples = read_table(run.table("samples"), SAMPLES)
    assert (samples["prediction"].astype(str) == samples["label"].astype(str)).all()
    assert json.loads(run.verdict.read_text())["verdict"] == "INCONCLUSIVE"  # two clusters
