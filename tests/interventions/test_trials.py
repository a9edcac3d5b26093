from __future__ import annotations

import numpy as np
import torch

from audit.interventions.trials import dilated, removal, seeds_of, sufficiency


def _batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    region = torch.zeros(3, 20, 20, dtype=torch.bool)
    region[0, 2:7, 2:7] = True
    region[1] = True  # leaves no room for a placebo
    avoid = torch.zeros_like(region)
    avoid[0, 10:, :] = True
    return images, region, avoid


def test_removal_pairs_act_and_placebo_on_equal_areas() -> None:
    images, region, avoid = _batch()
    trials = list(removal(images, region, avoid, ["blur", "local-mean"], "compact", [1, 2, 3]))
    assert [(t.arm, t.fill) for t in trials] == [
        ("act", "blur"), ("placebo", "blur"), ("act", "local-mean"), ("placebo", "local-mean")
    ]  # fmt: skip
    for trial in trials:
        assert trial.rows.tolist() == [0]  # 1 has no room, 2 has no region
        np.testing.assert_allclose(trial.area, 25 / 400)
        changed = (trial.images != images[trial.rows]).any(1)
        assert not (changed & avoid[trial.rows]).any()
        inside = changed & region[trial.rows]
        assert torch.equal(inside, changed) == (trial.arm == "act")


def test_sufficiency_removes_core_with_a_margin() -> None:
    images, region, _ = _batch()
    (trial,) = sufficiency(images, region, ["local-mean"], [1, 2, 3], dilate=0.1)
    assert trial.rows.tolist() == [0, 1]
    changed = (trial.images[0] != images[0]).any(0)
    assert not changed[9:, :].any()
    assert changed[:9, :9].float().mean() > 0.95


def test_dilation_reaches_every_neighbour() -> None:
    mask = torch.zeros(1, 7, 7, dtype=torch.bool)
    mask[0, 3, 3] = True
    assert int(dilated(mask, 2).sum()) == 25
    assert torch.equal(dilated(mask, 0), mask)


def test_seeds_depend_on_sample_purpose_and_run_only() -> None:
    assert seeds_of(["a", "b"], "hair", 0) == [
        *seeds_of(["a"], "hair", 0),
        *seeds_of(["b"], "hair", 0),
    ]
    assert (
        len(
            {
                *seeds_of(["a", "b"], "hair", 0),
                *seeds_of(["a"], "face", 0),
                *seeds_of(["a"], "hair", 1),
            }
        )
        == 4
    )
