from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.config import Swap
from audit.interventions import choose_donors, paste
from audit.interventions.swap import NO_DONOR

SWAP = Swap(attribute="gender", match=["job"], control_match=["label"])


@given(
    st.lists(
        st.tuples(st.sampled_from("wm"), st.sampled_from("abc"), st.booleans(), st.integers(0, 5)),
        max_size=20,
    )
)
def test_donors_match_and_differ_as_named(people: list[tuple[str, str, bool, int]]) -> None:
    rows = pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(len(people))],
            "gender": [g for g, *_ in people],
            "job": [j for _, j, *_ in people],
            "label": ["x" if j == "a" else "y" for _, j, *_ in people],
        }
    )
    eligible = np.array([e for *_, e, _ in people], dtype=bool)
    clusters = np.array([c for *_, c in people], dtype=np.int64)
    donors = choose_donors(rows, clusters, eligible, SWAP)
    for i in range(len(rows)):
        others = [
            j
            for j in range(len(rows))
            if eligible[i] and eligible[j] and clusters[j] != clusters[i]
            and rows.job[j] == rows.job[i] and rows.gender[j] != rows.gender[i]
        ]  # fmt: skip
        same = [
            j
            for j in range(len(rows))
            if eligible[i] and eligible[j] and clusters[j] != clusters[i]
            and rows.label[j] == rows.label[i] and rows.gender[j] == rows.gender[i]
        ]  # fmt: skip
        assert donors.other[i] in (others or [NO_DONOR])
        assert donors.same[i] in (same or [NO_DONOR])


def test_order_of_rows_does_not_choose_other_donors_when_one_fits() -> None:
    rows = pd.DataFrame(
        {
            "sample_id": ["a", "b", "c"],
            "gender": ["w", "m", "w"],
            "job": ["j", "j", "k"],
            "label": ["x", "x", "x"],
        }
    )
    donors = choose_donors(rows, np.arange(3), np.ones(3, dtype=bool), SWAP)
    assert donors.other.tolist() == [1, 0, NO_DONOR]
    assert donors.same.tolist() == [2, NO_DONOR, 0]


def test_paste_takes_the_union_of_both_masks_and_nothing_else() -> None:
    images, donated = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    mine = torch.zeros(1, 4, 4, dtype=torch.bool)
    theirs = mine.clone()
    mine[0, 0, 0] = theirs[0, 3, 3] = True
    pasted = paste(images, mine, donated, theirs)
    assert torch.equal(pasted[0, 0] == 1, (mine | theirs)[0])
