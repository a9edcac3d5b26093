"""What the report reads: a run folder, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from audit import tables
from audit.config import Audit
from audit.config_file import load_config
from audit.errors import RunError
from audit.runs.files import read_json
from reports import words

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run folder in memory."""

    folder: Path
    config: Audit
    samples: pd.DataFrame
    attention: pd.DataFrame
    interventions: pd.DataFrame
    evidence: pd.DataFrame
    scorecard: pd.DataFrame
    findings: list[Record]
    verdict: Record
    provenance: Record
    pictures: list[Record]
    model_card: Record
    neurons: pd.DataFrame
    cues: pd.DataFrame
    cue_associations: pd.DataFrame
    cue_pictures: list[Record]

    @property
    def audited(self) -> pd.DataFrame:
        """Samples that were audited: of the audit part and not quarantined."""
        samples = self.samples
        return samples[(samples["part"] == "audit") & (samples["status"] == tables.OK)]

    @property
    def quarantined(self) -> pd.DataFrame:
        """Samples that could not be used, of every part."""
        return self.samples[self.samples["status"] == tables.QUARANTINED]

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes that define subgroups."""
        return tables.attributes_of(self.samples)

    def cells(self, measure: str, attribute: str) -> pd.DataFrame:
        """Evidence of a measure per class and subgroup of an attribute; text as plain objects."""
        rows = self.evidence[
            (self.evidence["measure"] == measure) & (self.evidence["attribute"] == attribute)
        ]
        return rows[(rows["target_class"] != tables.ALL) & rows["effect"].notna()]

    def is_small(self, rows: pd.DataFrame) -> pd.Series[bool]:
        """Which rows of evidence rest on fewer clusters than the policy asks for."""
        return rows["clusters"] < self.config.policy.min_clusters

    @property
    def confidence(self) -> str:
        """Of the intervals, in words."""
        return words.confidence(self.config.statistics.confidence)

    @property
    def classes(self) -> list[str]:
        """Classes, in the order of the configuration, else sorted."""
        found = sorted({str(label) for label in self.audited["label"].dropna()})
        named = [name for name in self.config.data.classes or [] if name in found]
        return named + [name for name in found if name not in named]


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises
    ------
    RunError
        If a required file is missing or cannot be read; the message names the file.
    ConfigError
        If ``config.yaml`` is not a configuration.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder")
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder / 'config.yaml'}: missing; is this the folder of a run?")
    return Run(
        folder=folder,
        config=load_config(folder / "config.yaml", sealed=True),
        samples=_plain(tables.read_table(folder / "samples.parquet", tables.SAMPLES)),
        attention=tables.read_table(
            folder / "attention.parquet",
            tables.ATTENTION,
            ["sample_id", "region", "share", "area", "measurable"],
            {"method": "grad-cam", "explained": "true"},
        ),
        interventions=tables.read_table(
            folder / "interventions.parquet",
            tables.INTERVENTIONS,
            ["sample_id", "region", "test", "arm", "fill", "margin_after", "prediction_before"],
        ),
        evidence=_plain(tables.read_table(folder / "evidence.parquet", tables.EVIDENCE)),
        scorecard=_optional(folder, tables.SCORECARD),
        findings=_records(folder / "findings.json", "findings"),
        verdict=_json_object(folder / "verdict.json", "verdict"),
        provenance=_json_object(folder / "provenance.json"),
        pictures=_records(folder / "pictures" / "pictures.json", "pictures", optional=True),
        model_card=_json_object(folder / "model" / "card.json", optional=True),
        neurons=_optional(folder, tables.NEURONS),
        cues=_optional(folder, tables.CUES),
        cue_associations=_optional(folder, tables.CUE_ASSOCIATIONS),
        cue_pictures=_records(folder / "cues" / "pictures.json", "pictures", optional=True),
    )


def _optional(folder: Path, table: tables.Table) -> pd.DataFrame:
    """A table that a run may lack; then it is empty."""
    path = folder / f"{table.name}.parquet"
    return _plain(tables.read_table(path, table) if path.is_file() else tables.empty(table))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as plain text, so that levels without rows do not appear."""
    coded = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(coded, object))


def subgroups_of(samples: pd.DataFrame, attribute: str) -> pd.Series[str]:
    """Value of an attribute for each sample; a missing one is a value too."""
    values = samples[tables.attribute_column(attribute)].astype(object)
    return values.fillna(tables.UNKNOWN).astype(str)


def by_level(values: Iterable[str]) -> list[str]:
    """Values of an attribute, sorted, ``unknown`` last."""
    return sorted(set(values), key=lambda value: (value == tables.UNKNOWN, value))


def _json_object(path: Path, key: str | None = None, *, optional: bool = False) -> Record:
    """A JSON object that has ``key``; empty where an optional file is missing."""
    if optional and not path.is_file():
        return {}
    return read_json(path, *([key] if key else []))


def _records(path: Path, key: str, *, optional: bool = False) -> list[Record]:
    """The list of objects under ``key``."""
    found = _json_object(path, None if optional else key, optional=optional).get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise RunError(f"{path}: '{key}' must be a list of objects")
    return found
