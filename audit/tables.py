"""The schema of every table that is stored or passed on: column, type, unit, meaning.

A table is a pandas DataFrame in memory and a Parquet file on disk; both have exactly the columns
listed here, in this order. ``samples`` has besides one column per attribute, named by
:func:`attribute_column`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audit.atomic import replacing
from audit.parts import missing, refuse_without, unreadable

OK = "ok"
QUARANTINED = "quarantined"
UNKNOWN = "unknown"  # the level of an attribute whose value is missing
CROSS = " x "  # joins the names of crossed attributes, and their values
UNNAMED = "unnamed"  # a neuron that fires on no annotated region
PICTURE = "picture"  # kind of a file
ALL = "*"  # every class, or every subgroup

_TEXT = pa.dictionary(pa.int32(), pa.string())  # few distinct values, many rows
_ATTRIBUTE_PREFIX = "attribute:"


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type and meaning (with the unit, where it has one)."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """The name of a table and its columns."""

    name: str
    columns: tuple[Column, ...]

    def schema(self, attributes: Sequence[str] = ()) -> pa.Schema:
        """Arrow schema, with one text column more per attribute."""
        fields = [pa.field(column.name, column.type) for column in self.columns]
        fields += [pa.field(attribute_column(name), _TEXT) for name in attributes]
        return pa.schema(fields)


SAMPLES = Table(
    "samples",
    (
        Column("sample_id", pa.string(), "unique name of the sample"),
        Column("path", pa.string(), "picture, relative to the data root"),
        Column("part", _TEXT, "train | validation | audit"),
        Column("label", _TEXT, "class name"),
        Column("cluster_id", pa.string(), "what is sampled independently; defaults to sample_id"),
        Column("status", _TEXT, "ok | quarantined"),
        Column("reason", pa.string(), "why quarantined; empty when ok"),
        Column("prediction", _TEXT, "class predicted on the untouched picture (audit part only)"),
        Column("score", pa.float32(), "softmax probability of the prediction"),
        Column("margin", pa.float32(), "logit of the predicted class minus the best other"),
        Column("true_margin", pa.float32(), "logit of the true class minus the best other"),
        Column(
            "stands_for",
            pa.float64(),
            "audited clusters that its cluster stands for in the interventions: 1 where all are "
            "altered, 0 where it is not drawn (interventions.per_cell)",
        ),
    ),
)

ATTENTION = Table(
    "attention",
    (
        Column("sample_id", pa.string(), "sample"),
        Column("method", _TEXT, "grad-cam | guided-grad-cam"),
        Column("explained", _TEXT, "true | predicted: which class of the sample was explained"),
        Column("target_class", _TEXT, "the class explained"),
        Column("region", _TEXT, "region"),
        Column("share", pa.float32(), "part of the positive mass in the region; null if dead"),
        Column("area", pa.float32(), "part of the grid's area in the region"),
        Column("rho", pa.float32(), "[s/a]/[(1-s)/(1-a)], s clipped to half a cell; null if dead"),
        Column("pointing", pa.float32(), "credit of the map's maximum in the region, 0 to 1"),
        Column("dead", pa.bool_(), "the map has no positive mass"),
        Column("measurable", pa.bool_(), "the region covers at least 2 grid cells"),
    ),
)

INTERVENTIONS = Table(
    "interventions",
    (
        Column("sample_id", pa.string(), "sample"),
        Column("region", _TEXT, "forbidden region under test"),
        Column("test", _TEXT, "removal | swap | sufficiency"),
        Column("arm", _TEXT, "act | placebo (removal: equal area elsewhere; swap: same subgroup)"),
        Column("fill", _TEXT, "what the area was filled with; 'donor' for a swap"),
        Column("donor_id", pa.string(), "donor of a swap, else null"),
        Column("area", pa.float32(), "altered part of the picture"),
        Column("margin_before", pa.float32(), "margin of the class predicted on the untouched one"),
        Column("margin_after", pa.float32(), "margin of that same class on the altered picture"),
        Column("prediction_before", _TEXT, "class predicted on the untouched picture"),
        Column("prediction_after", _TEXT, "class predicted on the altered picture"),
        Column("true_margin_before", pa.float32(), "margin of the true class, untouched"),
        Column("true_margin_after", pa.float32(), "margin of the true class, altered"),
        Column("logits_before", pa.list_(pa.float32()), "sufficiency: of every class, untouched"),
        Column("logits_after", pa.list_(pa.float32()), "sufficiency: of every class, altered"),
    ),
)

EVIDENCE = Table(
    "evidence",
    (
        Column(
            "measure",
            _TEXT,
            "excess_flips | sufficiency_kappa | accuracy | log_rho | share | alignment (share "
            "above its permutation mean) | disparity (log rho, subgroup less the rest); harm, for "
            "reading: worst_group (accuracy of the worst cell) | aligned_gap (of accuracies) | "
            "brier | calibration_gap | ece (in probabilities) | true_margin_effect (in SDs of the "
            "margin)",
        ),
        Column("region", _TEXT, "region; '*' where none"),
        Column("role", _TEXT, "core | allowed | forbidden; '*' where none"),
        Column(
            "target_class", _TEXT, "class predicted (interventions) or true (others); '*' = all"
        ),
        Column("attribute", _TEXT, "attribute of the subgroup; '*' = all samples"),
        Column("subgroup", _TEXT, "value of the attribute; '*' = all samples"),
        Column(
            "act", _TEXT, "remove:<fill> | swap | keep:<fill> | explain:<method> | bins:<n> | *"
        ),
        Column("required", pa.bool_(), "decides the verdict"),
        Column("n", pa.int64(), "samples (pairs) used"),
        Column(
            "clusters",
            pa.int64(),
            "independent units among them; sufficiency: of the rarest predicted class; disparity: "
            "of the smaller side",
        ),
        Column("excluded", pa.int64(), "have the region but no pair (placebo, donor); or dead"),
        Column("undrawn", pa.int64(), "have the region but were not drawn to be altered"),
        Column("effect", pa.float64(), "estimate, in the measure's unit"),
        Column("low", pa.float64(), "two-sided 95 % interval, lower end"),
        Column("high", pa.float64(), "two-sided 95 % interval, upper end"),
        Column("lower_limit", pa.float64(), "one-sided 95 % lower limit"),
        Column("upper_limit", pa.float64(), "one-sided 95 % upper limit"),
        Column(
            "margin_effect",
            pa.float64(),
            "mean margin drop against placebo, in SDs of margin; disparity: Hedges' g",
        ),
        Column(
            "p",
            pa.float64(),
            "cluster sign-flip p of the margin (or of the excess), null in subgroups; alignment, "
            "disparity: permutation p",
        ),
        Column(
            "p_adjusted",
            pa.float64(),
            "Holm over the required tests; alignment, disparity: Benjamini-Hochberg q over those "
            "with enough clusters; else null",
        ),
        Column(
            "detectable",
            pa.float64(),
            "effect that would be confirmed (alignment, disparity: told from 0) with 80 % power",
        ),
    ),
)

MAPS = Table(
    "maps",
    (
        Column("sample_id", pa.string(), "sample"),
        Column("explained", _TEXT, "true | predicted"),
        Column("target_class", _TEXT, "the class explained"),
        Column("height", pa.int32(), "grid rows"),
        Column("width", pa.int32(), "grid columns"),
        Column("map", pa.list_(pa.float32()), "raw signed Grad-CAM, row-major"),
        Column("masks", pa.list_(pa.float16()), "pooled masks, regions x rows x columns"),
    ),
)

NEURONS = Table(
    "neurons",
    (
        Column("target_class", _TEXT, "class predicted"),
        Column("channel", pa.int32(), "channel of the layer explained"),
        Column("importance", pa.float64(), "part of all channels' positive contribution"),
        Column("region", _TEXT, "the annotated region it fires on, or 'unnamed'"),
        Column("iou", pa.float64(), "of where it fires with that region; unnamed: the best one"),
        Column("agreement", pa.float64(), "Loevinger's H of the two: 0 by chance, 1 at most"),
        Column("n", pa.int64(), "samples predicted as the class"),
        Column("clusters", pa.int64(), "independent units among them"),
    ),
)

CUES = Table(
    "cues",
    (
        Column("cue", pa.int32(), "number of the unnamed cue, from 1; the largest effect first"),
        Column("target_class", _TEXT, "class predicted"),
        Column("group", pa.int32(), "which of the class's groups of attended features"),
        Column("status", _TEXT, "what the intervention says"),
        Column("found_on", pa.int64(), "samples that the group was found on, in other clusters"),
        Column("n", pa.int64(), "samples (pairs) the patch was removed from"),
        Column("clusters", pa.int64(), "independent units among them"),
        Column("excluded", pa.int64(), "samples of the cue that no placebo fits"),
        Column("area", pa.float64(), "mean part of the picture in the patch"),
        Column("overlap", pa.list_(pa.float64()), "mean part of the patch in each region"),
        Column("elsewhere", pa.float64(), "mean part of the patch in no annotated region"),
        Column("act", _TEXT, "remove:<fill>, the weakest"),
        Column("effect", pa.float64(), "excess flips over the placebo"),
        Column("low", pa.float64(), "two-sided 95 % interval, lower end"),
        Column("high", pa.float64(), "two-sided 95 % interval, upper end"),
        Column("lower_limit", pa.float64(), "one-sided 95 % lower limit"),
        Column("upper_limit", pa.float64(), "one-sided 95 % upper limit"),
        Column("margin_effect", pa.float64(), "mean margin drop against placebo, in SDs of margin"),
        Column("p", pa.float64(), "cluster sign-flip p of the margin, largest over the fills"),
        Column("p_adjusted", pa.float64(), "Holm over the cues"),
        Column("typical", pa.list_(pa.string()), "samples closest to the group's centre"),
    ),
)

CUE_ASSOCIATIONS = Table(
    "cue_associations",
    (
        Column("cue", pa.int32(), "number of the unnamed cue"),
        Column("attribute", _TEXT, "attribute of the subgroup; '*' = wrong answers"),
        Column("subgroup", _TEXT, "value of the attribute; 'wrong' = wrong answers"),
        Column("n", pa.int64(), "samples predicted as the cue's class"),
        Column("clusters", pa.int64(), "independent units among them"),
        Column("inside", pa.float64(), "rate of the subgroup (of errors) among the cue's samples"),
        Column("outside", pa.float64(), "the same among the class's other samples"),
        Column("p", pa.float64(), "two-sided, permuted among clusters"),
        Column("p_adjusted", pa.float64(), "Benjamini-Hochberg over all of the run"),
    ),
)

SCORECARD = Table(
    "scorecard",
    (
        Column(
            "check",
            _TEXT,
            "randomisation | curves | agreement | pointing | localisation | robustness",
        ),
        Column("statistic", _TEXT, "what was measured"),
        Column("stage", _TEXT, "randomisation: which weights are random; '*' elsewhere"),
        Column("region", _TEXT, "region; '*' where none"),
        Column("n", pa.int64(), "samples used; 0: undefined, and the meaning says why"),
        Column("clusters", pa.int64(), "independent units among them"),
        Column("effect", pa.float64(), "estimate, in the unit that the meaning names"),
        Column("low", pa.float64(), "two-sided 95 % interval, lower end"),
        Column("high", pa.float64(), "two-sided 95 % interval, upper end"),
        Column("upper_limit", pa.float64(), "one-sided 95 % upper limit"),
        Column("p", pa.float64(), "alignment of random models' maps, Holm-adjusted; else null"),
        Column("threshold", pa.float64(), "limit of a gate, or what a map without any merit gives"),
        Column("gates", pa.bool_(), "must pass before attention may flag; the rest informs"),
        Column("passed", pa.bool_(), "of a gate; null where undefined, and of what informs"),
        Column("meaning", pa.string(), "the row as a sentence"),
    ),
)

PROPERTIES = Table(
    "properties",
    (
        Column("sample_id", pa.string(), "sample that is not quarantined, of any part"),
        Column("width", pa.int32(), "pixels"),
        Column("height", pa.int32(), "pixels"),
        Column("brightness", pa.float32(), "mean grey value, 0 to 1"),
        Column("contrast", pa.float32(), "standard deviation of the grey value, 0 to 0.5"),
        Column("sharpness", pa.float32(), "variance of the Laplacian, squared grey levels"),
        Column("border", pa.float32(), "part of the picture in uniform margins; 1: blank"),
        Column("phash", pa.uint64(), "perceptual hash; near-duplicates differ in few bits"),
        Column(
            "areas", pa.list_(pa.float32()), "part of the picture in each region, as configured"
        ),
    ),
)

ASSOCIATION = Table(
    "association",
    (
        Column("part", _TEXT, "training | audit"),
        Column("kind", _TEXT, "attribute | region (present or not) | property"),
        Column("factor", _TEXT, "what is compared with the label: its name"),
        Column("target_class", _TEXT, "class against all others; '*' = all classes at once"),
        Column("measure", _TEXT, "cramers_v (attribute, region) | auc (property, of the class)"),
        Column("n", pa.int64(), "samples"),
        Column("clusters", pa.int64(), "independent units among them; each counts the same"),
        Column("levels", pa.int64(), "values of the factor"),
        Column("effect", pa.float64(), "bias-corrected Cramer's V, 0 to 1; or AUC, 0.5 = none"),
        Column("low", pa.float64(), "two-sided 95 % interval, lower end"),
        Column("high", pa.float64(), "two-sided 95 % interval, upper end"),
        Column("lower_limit", pa.float64(), "one-sided 95 % lower limit"),
        Column("upper_limit", pa.float64(), "one-sided 95 % upper limit"),
        Column("information", pa.float64(), "mutual information with the label, bits; null: auc"),
        Column("information_null", pa.float64(), "bits to expect at this size without association"),
        Column("p", pa.float64(), "permutation p of whole clusters"),
        Column("p_adjusted", pa.float64(), "Benjamini-Hochberg over the whole table"),
    ),
)

CELLS = Table(
    "cells",
    (
        Column("part", _TEXT, "training | audit"),
        Column("kind", _TEXT, "attribute | region"),
        Column("factor", _TEXT, "attribute, or region"),
        Column("level", _TEXT, "value of the attribute; present | absent"),
        Column("label", _TEXT, "class"),
        Column("n", pa.int64(), "samples"),
        Column("clusters", pa.int64(), "independent units among them"),
        Column("weight", pa.float64(), "sum over clusters of the part of each that is in the cell"),
    ),
)

DUPLICATES = Table(
    "duplicates",
    (
        Column("kind", _TEXT, "leak (training and audit) | clusters (two of one part)"),
        Column("sample_id", pa.string(), "sample; of a leak the audited one"),
        Column("other_id", pa.string(), "its near-duplicate"),
        Column("part", _TEXT, "part of the sample"),
        Column("other_part", _TEXT, "part of the other"),
        Column("distance", pa.int32(), "bits in which the hashes differ"),
        Column("pairs", pa.int64(), "pairs of this kind in all; the closest are listed"),
        Column("pictures", pa.int64(), "samples in such pairs; of leaks: audited samples"),
    ),
)

FILES = Table(
    "files",
    (
        Column("kind", _TEXT, "manifest | picture | mask | annotation | weights | factory"),
        Column(
            "path",
            pa.string(),
            "relative to the data root; weights: the file's name; factory: as configured",
        ),
        Column("bytes", pa.int64(), "size; null if missing or unreadable"),
        Column("sha256", pa.string(), "of the contents; null if missing or unreadable"),
    ),
)

TABLES = {
    table.name: table
    for table in (
        *(SAMPLES, ATTENTION, INTERVENTIONS, EVIDENCE, MAPS),
        *(PROPERTIES, ASSOCIATION, CELLS, DUPLICATES, SCORECARD),
        *(NEURONS, CUES, CUE_ASSOCIATIONS),
        FILES,
    )
}


def attribute_column(name: str) -> str:
    """Column of ``samples`` that holds an attribute."""
    return _ATTRIBUTE_PREFIX + name


def attributes_of(samples: pd.DataFrame) -> list[str]:
    """Names of the attributes a ``samples`` table has, in column order."""
    prefix = len(_ATTRIBUTE_PREFIX)
    return [str(c)[prefix:] for c in samples.columns if str(c).startswith(_ATTRIBUTE_PREFIX)]


def to_arrow(frame: pd.DataFrame, table: Table) -> pa.Table:
    """A DataFrame as an Arrow table with exactly the schema's columns and types.

    Raises
    ------
    ValueError
        If a column is missing or unknown.
    """
    schema = table.schema(attributes_of(frame))
    if set(frame.columns) != set(schema.names):
        odd = sorted(set(frame.columns).symmetric_difference(schema.names))
        raise ValueError(f"table '{table.name}': missing or unknown columns {odd}")
    return pa.Table.from_pandas(
        frame, schema=schema, preserve_index=False
    ).replace_schema_metadata()


def write_table(frame: pd.DataFrame, table: Table, path: Path) -> None:
    """Write a table as Parquet, whole or not at all."""
    with replacing(path) as temporary:
        pq.write_table(to_arrow(frame, table), temporary, compression="zstd")


def read_table(
    path: Path,
    table: Table,
    columns: Sequence[str] | None = None,
    where: dict[str, str] | None = None,
    *,
    without: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a table back; ``columns`` picks some of them, ``where`` rows by value.

    ``without`` leaves columns out where all others are read, attributes too.

    Raises
    ------
    RunError
        If the file is missing or is not such a table.
    """
    if not path.is_file():
        raise missing(path)
    try:
        if without:
            columns = [name for name in pq.read_schema(path).names if name not in without]
        arrow = pq.read_table(
            path,
            columns=None if columns is None else list(columns),
            filters=[(name, "==", value) for name, value in (where or {}).items()] or None,
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, error) from error
    wanted = [column.name for column in table.columns if column.name not in without]
    refuse_without(path, wanted if columns is None or without else columns, arrow.column_names)
    frame: pd.DataFrame = arrow.to_pandas()
    return frame


def empty(table: Table, attributes: Sequence[str] = ()) -> pd.DataFrame:
    """A table without rows."""
    frame: pd.DataFrame = table.schema(attributes).empty_table().to_pandas()
    return frame
