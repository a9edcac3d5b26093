"""Which pictures are shown, by which rule, and what is drawn of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from audit.attribution import attribute, display, explain
from audit.config import Regions
from audit.pictures import COLD, HEAT, Choice, choose, heat_overlay, overlays
from audit.tables import OK
from tests.attribution import nets

Row = tuple[str, str, str, float, float, float]
REGIONS = Regions.model_validate(
    {
        "source": {"encoding": "codes", "values": {"hat": 1, "tool": 2}},
        "roles": {"core": ["tool"], "forbidden": ["hat"]},
        "per_class": {"b": {"forbidden": ["tool"]}},
    }
)


def tables_of(*rows: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and attention of (id, label, prediction, score, share on hat, share on tool)."""
    samples = pd.DataFrame(
        {"sample_id": i, "part": "audit", "status": OK, "label": y, "prediction": p, "score": s}
        for i, y, p, s, _, _ in rows
    )
    attention = pd.DataFrame(
        {
            "sample_id": i, "explained": explained, "target_class": of, "region": region,
            "share": share, "dead": np.isnan(share),
        }
        for i, y, p, _, hat, tool in rows
        for explained, of in (("true", y), ("predicted", p))
        for region, share in (("hat", hat), ("tool", tool))
    )  # fmt: skip
    return samples, attention


NONE_ALTERED = pd.DataFrame(
    columns=["sample_id", "arm", "prediction_before", "prediction_after"]
).assign(margin_before=0.0, margin_after=0.0)


def chosen(*rows: Row, limit: int = 99) -> dict[str, Choice]:
    samples, attention = tables_of(*rows)
    return choose(samples, attention, NONE_ALTERED, REGIONS, limit)


def test_extremes_are_the_largest_shares_on_regions_forbidden_for_the_class_predicted() -> None:
    middling = [(f"{y}{i}", y, y, 0.9, 0.3, 0.3) for y in ("a", "b") for i in range(5)]
    found = chosen(
        *middling,
        ("hatted", "a", "a", 0.9, 0.9, 0.1),
        ("tooled-a", "a", "a", 0.9, 0.1, 0.99),
        ("tooled", "b", "b", 0.9, 0.1, 0.8),
        ("both", "b", "b", 0.9, 0.95, 0.2),
        limit=5,
    )
    extreme = {i: one.region for i, one in found.items() if one.rule == "extreme"}
    assert extreme == {"hatted": "hat", "both": "hat", "tooled": "tool"}


def test_errors_come_most_confident_first() -> None:
    rows = [(f"e{i}", "a", "b", 0.5 + i / 10, np.nan, np.nan) for i in (1, 4, 2, 3)]
    found = chosen(*rows)
    assert [i for i, one in found.items() if one.rule == "wrong"][:2] == ["e4", "e3"]


def test_few_pictures_of_many_classes_show_every_class_and_rule() -> None:
    labels = [f"c{i}" for i in range(6)]
    rows = [
        row
        for label, other in zip(labels, labels[1:] + labels[:1], strict=True)
        for i in range(3)
        for row in (
            (f"{label}-right-{i}", label, label, 0.9, 0.3 + i / 10, 0.3),
            (f"{label}-wrong-{i}", label, other, 0.9, 0.1, 0.1),
        )
    ]
    found = chosen(*rows, limit=6)
    assert {i.split("-")[0] for i in found} == set(labels)
    assert {one.rule for one in found.values()} == {"wrong", "extreme", "typical"}
    assert list(found) == list(chosen(*rows, limit=99))[:6]  # the first to be shown first


def test_what_speaks_against_is_the_counterfactual_map() -> None:
    net, layer = nets.ready(nets.Net(after=torch.nn.Identity())), "features"
    images = nets.pictures(dtype=torch.float64)
    attribution = attribute(
        net,
        images,
        lambda logits: torch.stack([logits.argmin(1), logits.argmax(1)], 1),
        layer=layer,
    )
    drawn = overlays(attribution, (16, 16))
    assert set(drawn) == {"true", "predicted", "against-true", "against-predicted"}
    targets = attribution.logits.argmax(1)
    for name, method, colours in (
        ("predicted", "grad-cam", HEAT),
        ("against-predicted", "counterfactual", COLD),
    ):
        maps = explain(net, images, targets, method=method, layer=layer)
        wanted = display(maps.reshape(len(images), *maps.shape[-2:]), (16, 16)).numpy()
        for picture, one in zip(drawn[name], wanted, strict=True):
            if picture is None:
                assert not one.any()
            else:
                np.testing.assert_allclose(picture, heat_overlay(one, colours), atol=1)
