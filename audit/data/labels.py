"""One label of a multi-label data set as the class of each row."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from audit.config import sides
from audit.data.sources.base import Manifest
from audit.errors import DataError

_YES = ("1", "1.0", "true", "yes")
_NO = ("0", "0.0", "false", "no")
_MINUS = ("-1", "-1.0")


def with_label(manifest: Manifest) -> Manifest:
    """The manifest with a column of class names for the label audited; as it is for one label.

    The column is the one that ``data.columns.label`` names. A 1 (or true, yes) is the label, a 0
    (or false, no) its other side, in any case of letters; a -1 is the other side where the column
    has no 0, and else, as in chest X-ray sets that mean "uncertain" by it, no label. What is
    neither stays as it is: an unknown label, or a missing one where it is empty.

    Raises
    ------
    DataError
        If no label was chosen, its column is missing, or the new one is there already.
    """
    data = manifest.data
    if not data.label_columns:
        return manifest
    if data.target is None:
        raise DataError(
            "data.target: one label at a time; name one of " + ", ".join(data.label_columns)
        )
    column, new = data.label_columns[data.target], data.columns.label
    manifest.require([column], f"data.label_columns.{data.target}")
    if new in manifest.rows:
        raise DataError(
            f"data.columns.label: '{new}' is a column of the manifest; name one that is not, for "
            f"the classes of '{data.target}'"
        )
    named = _named(manifest.rows[column], data.target)
    return replace(manifest, rows=manifest.rows.assign(**{new: named}))


def _named(values: pd.Series, label: str) -> pd.Series:
    """Class names for the values of a label's column."""
    written = values.str.strip().str.lower()
    absent = _NO if written.isin(_NO).any() else _MINUS
    without, with_it = sides(label)
    classes = dict.fromkeys(_YES, with_it) | dict.fromkeys(absent, without)
    return written.map(classes).fillna(values)
