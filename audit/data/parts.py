"""Which rows are for training, for validation and for the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd

from audit.config import Filter, Scalar
from audit.data.sources.base import Manifest
from audit.errors import DataError

TRAIN, VALIDATION, AUDIT = "train", "validation", "audit"
NO_PART = ""


def parts_of(manifest: Manifest) -> pd.Series:
    """Part of each row by the filters of the configuration; ``""`` for a row of none.

    A validation filter wins over the training filter, so it may cut from the training rows. A
    validation fraction is cut later, see :func:`hold_out`.

    Raises
    ------
    DataError
        If a column is unknown, a part is empty, or a row is in two parts.
    """
    data = manifest.data
    filters: dict[str, Filter] = {AUDIT: data.audit}
    if data.train is not None:
        filters[TRAIN] = data.train
    if isinstance(data.validation, dict):
        filters[VALIDATION] = data.validation
    chosen = {part: _matches(manifest, part, wanted) for part, wanted in filters.items()}
    for part in set(chosen) - {AUDIT}:
        _require_apart(manifest, part, chosen[part] & chosen[AUDIT])
    parts = pd.Series(NO_PART, index=manifest.rows.index, dtype=str)
    for part in (TRAIN, VALIDATION, AUDIT):
        if part in chosen:
            parts[chosen[part]] = part
    return parts


def _matches(manifest: Manifest, part: str, wanted: Filter) -> pd.Series:
    key = f"data.{part}"
    manifest.require(list(wanted), key)
    match = pd.Series(True, index=manifest.rows.index)
    for column, values in wanted.items():
        found = manifest.rows[column]
        match &= found.isin(_texts(values))
        if not match.any():
            there = ", ".join(map(repr, sorted(found.unique())[:10]))
            raise DataError(f"{key}: no row left by {column}: {values}; values there: {there}")
    return match


def _texts(values: Scalar | list[Scalar]) -> set[str]:
    """The texts that a filter value may be written as: a truth value as True, true or TRUE."""
    listed = values if isinstance(values, list) else [values]
    texts = {str(value) for value in listed}
    flags = {str(value) for value in listed if isinstance(value, bool)}
    return texts | {flag.lower() for flag in flags} | {flag.upper() for flag in flags}


def _require_apart(manifest: Manifest, part: str, both: pd.Series) -> None:
    if both.any():
        example = manifest.rows.loc[both, manifest.data.columns.sample_id].iloc[0]
        hint = "" if manifest.data.audit else " (data.audit is not given, which means all rows)"
        raise DataError(
            f"data.{part}, data.audit: {int(both.sum())} rows are in both, e.g. '{example}'; "
            f"the audit needs rows of its own{hint}"
        )


def hold_out(
    clusters: Sequence[str], labels: Sequence[str], fraction: float, seed: int
) -> set[str]:
    """Clusters to hold out for validation.

    Clusters are ranked by a seeded hash of their name, so a cluster's rank does not depend on the
    others. From the rarest class to the most frequent, the first ones are taken until ``fraction``
    of the clusters with this class is held out: at least one, and never all. A cluster that is the
    last one left to any of its classes is passed over.

    Parameters
    ----------
    clusters, labels
        Cluster and class of each training sample.
    fraction
        Part of the clusters, 0 to 1.
    seed
        Of the hash.
    """
    pairs = pd.DataFrame({"cluster": clusters, "label": labels}, dtype=str).drop_duplicates()
    members = {str(label): set(group["cluster"]) for label, group in pairs.groupby("label")}
    classes = pairs.groupby("cluster")["label"].agg(list).to_dict()
    left = {label: len(found) for label, found in members.items()}
    held: set[str] = set()
    for label, found in sorted(members.items(), key=lambda item: (len(item[1]), item[0])):
        wanted = min(max(1, round(fraction * len(found))), len(found) - 1) if fraction else 0
        for cluster in sorted(found - held, key=lambda cluster: _rank(cluster, seed)):
            if len(found) - left[label] >= wanted:
                break
            if all(left[owner] > 1 for owner in classes[cluster]):
                held.add(cluster)
                left |= {owner: left[owner] - 1 for owner in classes[cluster]}
    return held


def _rank(cluster: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{cluster}".encode(), digest_size=16).digest()
