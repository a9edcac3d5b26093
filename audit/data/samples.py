"""The samples table out of the rows of a manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from audit.config import Audit
from audit.data.labels import with_label
from audit.data.parts import AUDIT, NO_PART, TRAIN, VALIDATION, hold_out, parts_of
from audit.data.reasons import Kind, reason
from audit.data.sources.base import Manifest
from audit.errors import DataError
from audit.tables import CROSS, OK, QUARANTINED, UNKNOWN, attribute_column


@dataclass(frozen=True)
class Selection:
    """The rows of all parts, and the samples table that they make (same index)."""

    samples: pd.DataFrame
    rows: pd.DataFrame
    classes: list[str]


def select(config: Audit, manifest: Manifest) -> Selection:
    """The samples of the training, validation and audit parts.

    Raises
    ------
    DataError
        If a column is missing, a part or a class is empty, or a row is in two parts.
    """
    manifest = with_label(manifest)
    _require_columns(config, manifest)
    manifest = replace(manifest, rows=_without_blanks(config, manifest))
    columns = manifest.data.columns
    parts = parts_of(manifest)
    used = parts != NO_PART
    rows = manifest.rows[used].reset_index(drop=True)
    numbers = pd.Series(manifest.rows.index[used] + 1)  # for people: the first row is 1
    classes = manifest.data.classes or sorted(set(rows[columns.label]) - {""})
    unknown = sorted(set(config.regions.per_class) - set(classes))
    if unknown:
        raise DataError(f"regions.per_class: {unknown} no class; classes are {classes}")
    clusters = rows[columns.cluster_id] if columns.cluster_id else rows[columns.sample_id]
    reasons = _reasons(rows, manifest, classes)
    samples = pd.DataFrame(
        {
            "sample_id": _unique_ids(rows[columns.sample_id], numbers),
            "path": rows[columns.path].map(manifest.files.from_root),
            "part": parts[used].reset_index(drop=True),
            "label": rows[columns.label],
            "cluster_id": clusters,
            "status": reasons.eq("").map({True: OK, False: QUARANTINED}),
            "reason": reasons,
            "prediction": None,
            "score": np.float32("nan"),
            "margin": np.float32("nan"),
            "true_margin": np.float32("nan"),
            "stands_for": 1.0,
        }
    )
    _hold_out(samples, manifest, config.seed)
    _require_classes(samples, classes)
    return Selection(_with_attributes(samples, rows, config), rows, classes)


def _require_columns(config: Audit, manifest: Manifest) -> None:
    columns = manifest.data.columns
    manifest.require([columns.sample_id, columns.path, columns.label], "data.columns")
    if columns.cluster_id:
        manifest.require([columns.cluster_id], "data.columns.cluster_id")
    manifest.require(config.data.attributes, "data.attributes")
    swap = config.interventions.swap
    if swap:
        wanted = [*swap.match, *(swap.control_match or [])]
        manifest.require(wanted, "interventions.swap")


def _without_blanks(config: Audit, manifest: Manifest) -> pd.DataFrame:
    """The rows, without blanks around ids, classes and attributes; a path may have them."""
    columns = manifest.data.columns
    named = [columns.sample_id, columns.label, columns.cluster_id, *config.data.attributes]
    return manifest.rows.assign(
        **{n: manifest.rows[n].str.strip() for n in named if n and n != columns.path}
    )


def _reasons(rows: pd.DataFrame, manifest: Manifest, classes: list[str]) -> pd.Series:
    """Why a row cannot be used, as far as the manifest tells; the first fault counts."""
    columns = manifest.data.columns
    reasons = pd.Series("", index=rows.index, dtype=str)

    def note(faulty: pd.Series, kind: Kind, details: pd.Series) -> None:
        chosen = faulty & (reasons == "")
        reasons[chosen] = details[chosen].map(lambda text: reason(kind, text))

    ids, labels = rows[columns.sample_id], rows[columns.label]
    note(ids == "", Kind.MISSING_ID, rows[columns.path])
    note(ids.duplicated(), Kind.DUPLICATE_ID, "'" + ids + "' came before")
    note(labels == "", Kind.MISSING_LABEL, "no value in '" + columns.label + "' of " + ids)
    named = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    note(~labels.isin(classes), Kind.UNKNOWN_LABEL, "'" + labels + "'; classes are " + named)
    if columns.cluster_id:
        note(rows[columns.cluster_id] == "", Kind.MISSING_CLUSTER, "no cluster for " + ids)
    return reasons


def _unique_ids(ids: pd.Series, numbers: pd.Series) -> pd.Series:
    """Ids with the row number added where an id is missing or came before."""
    repeated = ids.duplicated() | (ids == "")
    return ids.mask(repeated, ids + " (row " + numbers.astype(str) + ")")


def _hold_out(samples: pd.DataFrame, manifest: Manifest, seed: int) -> None:
    """Turn training rows into validation rows, where the configuration gives a fraction."""
    fraction = manifest.data.validation
    if isinstance(fraction, dict):
        return
    training = samples[(samples["part"] == TRAIN) & (samples["status"] == OK)]
    held = hold_out(list(training["cluster_id"]), list(training["label"]), fraction, seed)
    chosen = (samples["part"] == TRAIN) & samples["cluster_id"].isin(held)
    samples.loc[chosen, "part"] = VALIDATION


def _require_classes(samples: pd.DataFrame, classes: list[str]) -> None:
    if len(classes) < 2:
        raise DataError(f"data.classes: at least two classes are needed, there are: {classes}")
    usable = samples[samples["status"] == OK]
    for part in (TRAIN, AUDIT):
        labels = usable.loc[usable["part"] == part, "label"]
        missing = [name for name in classes if name not in set(labels)]
        if missing and (samples["part"] == part).any():
            raise DataError(
                f"data.{part}: no usable sample of class {', '.join(map(repr, missing))} "
                f"among {len(labels)}; change the filter, or data.classes"
            )


def _with_attributes(samples: pd.DataFrame, rows: pd.DataFrame, config: Audit) -> pd.DataFrame:
    """The samples with a column per attribute, then per crossing of attributes."""
    levels: dict[str, pd.Series] = {
        name: rows[name].mask(rows[name] == "", UNKNOWN) for name in config.data.attributes
    }
    for group in config.data.crossed:
        together = pd.DataFrame({name: levels[name] for name in group})
        known = (together != UNKNOWN).all(axis=1)
        levels[CROSS.join(group)] = together.agg(CROSS.join, axis=1).where(known, UNKNOWN)
    return samples.assign(**{attribute_column(name): values for name, values in levels.items()})
