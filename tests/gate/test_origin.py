"""Origin and remedies: the 2x2, and the smallest additions against their closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.evidence.association import build_association
from audit.evidence.contingency import mean_square_contingency
from audit.gate.findings import Finding, Status
from audit.gate.origin import with_origins
from audit.gate.remedies import smallest_additions
from audit.tables import PROPERTIES, attribute_column, empty
from tests.evidence.planted import config, some_examples


def samples(cells: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [(label, level) for (label, level), count in cells.items() for _ in range(count)]
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(len(rows))],
            "part": "train",
            "label": [label for label, _ in rows],
            "cluster_id": [f"s{i}" for i in range(len(rows))],
            "status": "ok",
            attribute_column("gender"): [level for _, level in rows],
        }
    )


def told(cells: dict[tuple[str, str], int], status: Status, **changes: Any) -> Finding:
    audit = config(**changes)
    tables = build_association(samples(cells), empty(PROPERTIES), audit)
    finding = Finding("f", "hair", "nurse", "forbidden", "removal", status, "because")
    return with_origins([finding], *tables, audit)[0]


BIASED = {("doctor", "man"): 250, ("doctor", "woman"): 70, ("nurse", "man"): 22,
          ("nurse", "woman"): 298}  # fmt: skip
BALANCED = dict.fromkeys(BIASED, 160)


@pytest.mark.parametrize(
    ("cells", "status", "expected"),
    [
        (BIASED, "CONFIRMED", "data-biased and relied on"),
        (BIASED, "WAIVED", "data-biased and relied on"),
        (BIASED, "CLEARED", "data-biased and not relied on"),
        (BALANCED, "CONFIRMED", "relied on without bias in this data"),
        (BALANCED, "CLEARED", "neither"),
        (BIASED, "INCONCLUSIVE", None),
        (BIASED, "ERROR", None),
        (dict.fromkeys(BIASED, 10), "CONFIRMED", None),  # too little to rule bias out
    ],
)
def test_origin(cells: dict[tuple[str, str], int], status: Status, expected: str | None) -> None:
    assert told(cells, status).origin == expected


def test_the_remedy_names_cells_and_numbers() -> None:
    remedy = told(BIASED, "CONFIRMED").remedy
    assert remedy is not None
    # both small cells go up to the geometric mean of the large ones, sqrt(250 x 298) = 273
    added = {(one.label, one.level): one.add for one in remedy.cells}
    assert added == {("doctor", "man"): 0, ("doctor", "woman"): 203, ("nurse", "man"): 251,
                     ("nurse", "woman"): 0}  # fmt: skip
    assert "251 'nurse' with gender 'man' and 203 'doctor' with gender 'woman'" in remedy.sentence
    assert "paint_regions: [hair]" in remedy.sentence
    assert told(BIASED, "CLEARED").remedy is None
    balanced = told(BALANCED, "CONFIRMED").remedy
    assert balanced is not None and "more of the same data would not help" in balanced.sentence


def test_a_region_speaks_only_for_the_attributes_it_reveals() -> None:
    assert told(BIASED, "CONFIRMED", regions={"reveals": {"hair": []}}).origin is None
    assert told(BIASED, "CONFIRMED", regions={"reveals": {"face": []}}).origin is not None


@given(st.lists(st.integers(1, 300), min_size=4, max_size=4))
@some_examples
def test_two_by_two_in_closed_form(counts: list[int]) -> None:
    table = np.array(counts, dtype=np.float64).reshape(2, 2)
    (a, b), (c, d) = table
    large, small = ((a, d), (b, c)) if a * d >= b * c else ((b, c), (a, d))
    target = np.sqrt(large[0] * large[1])
    # one cell may be above the mean already: then the other alone is raised
    expected = (
        2 * target if max(small) <= target else max(small) + large[0] * large[1] / max(small)
    ) - sum(small)
    found = smallest_additions(table)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(expected, abs=2.01)


def two_rows(table: np.ndarray) -> float:
    """The smallest total: rows in proportion 1 to q, q between or at its breakpoints."""
    first, second = table
    candidates = list(second / first)
    for q in sorted(second / first):
        for keep in (second / first <= q, second / first < q):
            if keep.any() and not keep.all():
                candidates.append(np.sqrt(second[~keep].sum() / first[keep].sum()))
    return min((1 + q) * np.maximum(first, second / q).sum() for q in candidates)


@given(st.lists(st.integers(1, 200), min_size=6, max_size=6))
@some_examples
def test_two_rows_in_closed_form_and_independent_afterwards(counts: list[int]) -> None:
    table = np.array(counts, dtype=np.float64).reshape(2, 3)
    found = smallest_additions(table)
    assert (found >= 0).all()
    assert (table + found).sum() == pytest.approx(two_rows(table), rel=1e-3, abs=4)
    n = (table + found).sum()
    assert mean_square_contingency(table + found)[0] * n < 3  # rounding alone
    np.testing.assert_allclose(smallest_additions(table[::-1])[::-1].sum(), found.sum(), atol=4)


def test_independent_tables_need_nothing_and_a_full_confound_both_others() -> None:
    assert not smallest_additions(np.outer([2.0, 4.0], [3.0, 5.0, 1.0])).any()
    np.testing.assert_array_equal(smallest_additions(np.diag([64.0, 100.0])), [[0, 80], [80, 0]])
