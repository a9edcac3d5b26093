"""Neurons against a loop over cells, and a channel built to fire on a region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.attribution import attribute, channels
from audit.discovery.features import attend, chosen_samples, read_features
from audit.discovery.neurons import FIRES, name_neurons, overlaps, thresholds
from audit.tables import UNNAMED
from tests.discovery import tagged
from tests.evidence.planted import some_examples
from tests.oracles import discovery as oracle


@st.composite
def cells(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Activations with many ties, and masks with fractions, of a few samples."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, c, r, h, w = (draw(st.integers(1, high)) for high in (6, 3, 3, 5, 6))
    activations = rng.integers(0, draw(st.integers(1, 60)), (n, c, h, w)).astype(np.float32)
    masks = rng.random((n, r, h, w), dtype=np.float32).round(1)
    masks[:, draw(st.integers(0, r - 1))] *= draw(st.sampled_from([0.0, 1.0]))
    return activations, masks


@some_examples
@given(cells())
def test_overlaps_are_those_of_a_loop_over_cells(data: tuple[np.ndarray, np.ndarray]) -> None:
    activations, masks = data
    iou, agreement = overlaps(activations, masks)
    for k in range(activations.shape[1]):
        firing = oracle.fires(activations[:, k].ravel().tolist(), FIRES)
        for r in range(masks.shape[1]):
            wanted = oracle.overlap(firing, masks[:, r].ravel().tolist())
            assert (iou[k, r], agreement[k, r]) == pytest.approx(wanted, abs=1e-5)


@some_examples
@given(cells(), st.integers(0, 2**32 - 1))
def test_overlaps_do_not_depend_on_the_order_of_samples_or_on_the_scale_of_a_channel(
    data: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    activations, masks = data
    order = np.random.default_rng(seed).permutation(len(masks))
    for one, other in zip(
        overlaps(activations, masks),
        overlaps(2 * activations[order] + 1, masks[order]),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


@some_examples
@given(cells())
def test_a_channel_exceeds_its_threshold_in_few_cells(data: tuple[np.ndarray, np.ndarray]) -> None:
    activations, _ = data
    fired = (activations > thresholds(activations)[None, :, None, None]).mean((0, 2, 3))
    assert (fired <= FIRES).all()


def test_chance_agrees_at_zero_and_the_region_itself_at_one() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((400, 2, 8, 8), dtype=np.float32)
    masks[:, 0, :2, :2] = 1
    masks[:, 1, 4:] = 1
    inside = masks[:, 0] * rng.uniform(1, 2, (400, 8, 8))
    activations = np.stack([inside, rng.random((400, 8, 8))], 1).astype(np.float32)
    _, agreement = overlaps(activations, masks)
    assert agreement[0, 0] == pytest.approx(1)
    assert agreement[0, 1] < 0
    assert abs(agreement[1]).max() < 0.1


def test_channels_give_the_map_of_grad_cam_and_what_it_attends_to() -> None:
    module = tagged.relies_on_the_object()
    images = torch.rand(5, 3, tagged.SIDE, tagged.SIDE, generator=torch.Generator().manual_seed(3))

    def both(logits: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0, 1]]).expand(len(logits), 2)

    seen = channels(module, images, both, layer="2")
    maps = attribute(module, images, both, layer="2").maps
    remade = torch.einsum("bkc,bchw->bkhw", seen.weights, seen.activations)
    torch.testing.assert_close(remade, maps)
    positive, attended = attend(seen.activations, seen.weights[:, 1])
    torch.testing.assert_close(positive, maps[:, 1].relu())
    for i in range(5):
        wanted = oracle.attended(positive[i].numpy(), seen.activations[i].numpy())
        assert attended[i].tolist() == pytest.approx(wanted, rel=1e-4)


def test_contributions_are_the_logit_of_a_linear_head(tmp_path: Path) -> None:
    context = tagged.context_of(
        tagged.write_tagged(tmp_path, count=24), tagged.relies_on_the_object()
    )
    features = read_features(context, chosen_samples(context))
    images = context.load(features.positions).images.float() / 255
    logits = context.forward(images).amax(1)
    grid = features.maps[0].size
    np.testing.assert_allclose(features.contribution.sum(1) * grid, logits, rtol=1e-4, atol=1e-5)


def test_a_channel_built_to_fire_on_a_region_gets_its_name(tmp_path: Path) -> None:
    head = {(0, tagged.SQUARE_CHANNEL): 9.0, (0, tagged.TEXTURE_CHANNEL): 0.1}
    module = tagged.network(head | {(1, tagged.DISC_CHANNEL): 9.0})
    context = tagged.context_of(tagged.write_tagged(tmp_path, count=80), module)
    features = read_features(context, chosen_samples(context))
    neurons = name_neurons(features, context.classifier.classes, context.config)
    of_square = neurons[neurons["target_class"] == "square"].set_index("channel")
    assert of_square["region"].to_dict() == {
        tagged.SQUARE_CHANNEL: "object",
        tagged.TEXTURE_CHANNEL: UNNAMED,
    }
    assert of_square["importance"].sum() == pytest.approx(1)
    assert (of_square["n"] == (features.predicted == 0).sum()).all()
    # the tag lies in no annotated region
    module = tagged.relies_on_the_tag()
    context = tagged.context_of(tmp_path / "audit.yaml", module)
    features = read_features(context, chosen_samples(context))
    neurons = name_neurons(features, context.classifier.classes, context.config)
    assert (
        neurons.set_index(["target_class", "channel"])["region"].astype(str)["square"][
            tagged.TAG_CHANNEL
        ]
        == UNNAMED
    )
