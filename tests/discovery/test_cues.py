"""Planted tags: found where they are attended to, confirmed only where answers rest on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from audit.context import Context
from audit.discovery.cues import CONFIRMED, NOT_CONFIRMED, TOO_FEW, Found, find_cues
from audit.discovery.features import chosen_samples, read_features
from audit.discovery.groups import finding_half
from tests.discovery import tagged
from tests.oracles import statistics as oracle


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tagged.write_tagged(tmp_path_factory.mktemp("tagged"))


def found_in(context: Context) -> Found:
    return find_cues(context, read_features(context, chosen_samples(context)))


@pytest.fixture(scope="module")
def relying(config: Path) -> Found:
    return found_in(tagged.context_of(config, tagged.relies_on_the_tag()))


def test_an_unannotated_tag_that_decides_is_found_and_confirmed(relying: Found) -> None:
    first = relying.cues.iloc[0]
    assert first["cue"] == 1
    assert first["target_class"] == "square"
    assert first["status"] == CONFIRMED
    assert first["elsewhere"] > 0.99  # the tag lies in no annotated region
    assert first["area"] == pytest.approx((tagged.TAG / tagged.SIDE) ** 2)
    assert first["effect"] > 0.9
    assert first["lower_limit"] <= first["effect"] <= first["upper_limit"]


def test_a_model_that_reads_the_object_has_no_cue_in_the_corner(config: Path) -> None:
    cues = found_in(tagged.context_of(config, tagged.relies_on_the_object())).cues
    assert set(cues["target_class"]) == {"square", "disc"}
    assert (cues["elsewhere"] < 0.6).all()
    overlap = np.stack(cues["overlap"].to_numpy())
    assert (overlap[:, 0] > 0.4).all()  # the object


def test_attention_alone_confirms_nothing(config: Path) -> None:
    cues = found_in(tagged.context_of(config, tagged.only_looks_at_the_tag())).cues
    assert (cues["elsewhere"] > 0.99).any()  # the tag is attended to,
    assert cues["p"].min() < 0.05  # its removal lowers the score,
    assert set(cues["status"]) == {NOT_CONFIRMED}  # and no answer changes


def test_dead_maps_make_no_cue(config: Path) -> None:
    module = tagged.network(
        {(1, tagged.TAG_CHANNEL): -1.0}, (0.0, 5.0)
    )  # predicted, nothing for it
    found = found_in(tagged.context_of(config, module))
    assert found.cues.empty
    assert found.associations.empty


def test_few_clusters_are_never_confirmed(config: Path) -> None:
    context = tagged.context_of(
        config, tagged.relies_on_the_tag(), discovery__samples="60", policy__min_clusters="30"
    )
    assert set(found_in(context).cues["status"]) == {TOO_FEW}


def test_cues_are_tested_on_other_clusters_than_they_were_found_on(
    config: Path, relying: Found
) -> None:
    context = tagged.context_of(config, tagged.relies_on_the_tag())
    positions = chosen_samples(context)
    clusters = context.samples["cluster_id"].astype(str).to_numpy(object)[positions]
    finding = finding_half(pd.factorize(clusters, sort=True)[0], context.config.seed)
    found_on = set(context.samples["sample_id"].to_numpy(object)[positions[finding]])
    typical = {name for names in relying.cues["typical"] for name in names}
    assert typical
    assert not typical & found_on


def test_the_tag_is_associated_with_its_cue_where_a_class_has_several(config: Path) -> None:
    """Squares and half the discs are told by their own channel, so square has two groups."""
    module = tagged.network(
        {
            (0, tagged.TAG_CHANNEL): 30.0,
            (0, tagged.SQUARE_CHANNEL): 30.0,
            (1, tagged.DISC_CHANNEL): 9.0,
        }
    )
    found = found_in(tagged.context_of(config, module))
    corner = found.cues[found.cues["elsewhere"] > 0.9]
    assert len(corner) >= 1
    rows = found.associations[found.associations["cue"].isin(corner["cue"])]
    tag = rows[rows["subgroup"] == "yes"]
    assert (tag["inside"] > tag["outside"]).all()
    assert (tag["p_adjusted"] < 0.05).any()
    assert (found.associations["p_adjusted"] >= found.associations["p"]).all()


def test_same_tables_again_whatever_the_order_of_the_rows_and_the_threads(
    config: Path, relying: Found
) -> None:
    context = tagged.context_of(config, tagged.relies_on_the_tag(), execution__workers="1")
    order = np.random.default_rng(1).permutation(len(context.samples)).astype(np.int64)
    samples = context.samples.iloc[order].reset_index(drop=True)
    again = found_in(replace(context, dataset=context.dataset.subset(order), samples=samples))
    pd.testing.assert_frame_equal(relying.cues, again.cues, check_exact=True)
    pd.testing.assert_frame_equal(relying.associations, again.associations, check_exact=True)


def test_the_model_is_left_as_it_was(config: Path) -> None:
    module = tagged.relies_on_the_tag()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found_in(tagged.context_of(config, module))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in module.parameters())


def test_confirmation_is_corrected_by_holm_over_the_cues(config: Path) -> None:
    cues = found_in(tagged.context_of(config, tagged.relies_on_the_object())).cues
    assert len(cues) > 1
    wanted = oracle.holm(cues["p"].tolist())
    np.testing.assert_allclose(cues["p_adjusted"], wanted, rtol=1e-12)


def test_few_resamples_do_not_keep_holm_from_confirming(config: Path) -> None:
    context = tagged.context_of(
        config,
        tagged.relies_on_the_tag(),
        statistics__resamples="99",
        policy__alpha="0.001",
    )
    assert found_in(context).cues["status"].iloc[0] == CONFIRMED
