"""What the stages of an audit need to look at samples: data, model, layer, tests. Loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from audit.attribution import find_layer, guided_refusal, layer_choice
from audit.config import Audit
from audit.data.batches import Batch, batches
from audit.data.dataset import Dataset, open_dataset
from audit.errors import DataError, ModelError
from audit.interventions.swap import Donors, choose_donors
from audit.interventions.trials import REMOVAL, SUFFICIENCY, placebos, seeds_of
from audit.models.classifier import Classifier
from audit.models.devices import choose_device
from audit.models.load import load_classifier
from audit.models.precision import set_precision
from audit.runs.folder import Run
from audit.tables import OK, SAMPLES, UNKNOWN, attribute_column, read_table

Positions = npt.NDArray[np.int64]

PLANNED_ON = 128  # samples that decide whether placebos fit
MOSTLY = 0.8  # part of them that a placebo must fit
NEARLY_ALL = 0.95  # part of the picture that a region and core cover, if it is core's complement


@dataclass(frozen=True)
class Context:
    """Everything that turns samples into numbers.

    Parameters
    ----------
    config
        The audit.
    dataset
        Pictures and masks.
    samples
        The checked ``samples`` table, row for row as in the dataset.
    classifier
        The model under audit.
    layer
        Dotted name of the layer explained.
    tests
        Region to ``removal`` or ``sufficiency``, for every region under test.
    donors
        For the swap; None where the configuration names none.
    guided
        Whether Guided Grad-CAM is computed too.
    precision
        In which the model computes up to the layer.
    """

    config: Audit
    dataset: Dataset
    samples: pd.DataFrame
    classifier: Classifier
    layer: str
    tests: dict[str, str] = field(default_factory=dict)
    donors: Donors | None = None
    guided: bool = False
    precision: str = "float32"

    @cached_property
    def audited(self) -> Positions:
        """Positions of the usable samples of the audit part."""
        return usable(self.samples, "audit")

    @cached_property
    def alike(self) -> list[list[str]]:
        """Classes grouped by their core and forbidden regions: those that mean the same."""
        regions = self.config.regions
        groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
        for name in self.classifier.classes:
            roles = (regions.with_role(role, name) for role in ("core", "forbidden"))
            groups.setdefault(tuple(map(tuple, roles)), []).append(name)
        return list(groups.values())

    def tested_on(self, region: str) -> list[list[str]]:
        """The groups of :attr:`alike` whose reliance on a region must be tested."""
        return [group for group in self.alike if region in self.config.required_regions(group[0])]

    def batches(self, positions: Positions, *, batch_size: int | None = None) -> Iterator[Batch]:
        """Samples in batches, with coverage, on the classifier's device."""
        execution, device = self.config.execution, self.classifier.device
        for batch in batches(
            self.dataset,
            positions,
            self.config.model.input,
            batch_size=batch_size or execution.batch_size,
            workers=execution.workers,
        ):
            assert batch.coverage is not None
            yield replace(
                batch,
                images=batch.images.to(device, non_blocking=True),
                coverage=batch.coverage.to(device, non_blocking=True),
            )

    def load(self, positions: Positions) -> Batch:
        """Some samples as one batch."""
        return next(self.batches(positions, batch_size=len(positions)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, K]`` of pictures in 0..1 over the audit's classes, without a graph."""
        with torch.inference_mode():
            classifier = self.classifier
            return classifier.logits(classifier.module(classifier.prepare(images))).float()

    def region_mask(self, coverage: Tensor, names: list[str]) -> Tensor:
        """Union of regions, ``[B, h, w]`` bool: every pixel that any of them touches."""
        indices = [self.config.regions.names.index(name) for name in names]
        return (coverage[:, indices] > 0).any(1)

    def removed_mask(self, coverage: Tensor, region: str, target_class: str) -> Tensor:
        """What the removal of a region takes away, ``[B, h, w]`` bool: never core.

        A pixel that both touch is core's unless the region covers more of it; the placebo leaves
        core alone, so the act must too. A region that lies in core (the face in the person) is
        removed whole.
        """
        region_mask = self.region_mask(coverage, [region])
        core = self.config.regions.with_role("core", target_class)
        if not core:
            return region_mask
        names = self.config.regions.names
        of_core = coverage[:, [names.index(name) for name in core]].amax(1)
        apart = region_mask & (coverage[:, names.index(region)] > of_core)
        in_core = 2 * apart.sum((1, 2)) < region_mask.sum((1, 2))
        return torch.where(in_core[:, None, None], region_mask, apart)

    def avoid_mask(self, coverage: Tensor, target_class: str) -> Tensor:
        """What a placebo must not touch: core, and all that is forbidden for the class."""
        regions = self.config.regions
        return self.region_mask(
            coverage,
            regions.with_role("core", target_class) + regions.with_role("forbidden", target_class),
        )


def usable(samples: pd.DataFrame, part: str) -> Positions:
    """Positions of the samples of a part that are not quarantined."""
    return np.flatnonzero((samples["part"] == part) & (samples["status"] == OK)).astype(np.int64)


def load_context(config: Audit, run: Run) -> Context:
    """Data as checked by a run, the classifier (trained by it, or loaded), layer and donors.

    Raises
    ------
    DataError
        If the manifest is not the one that was checked.
    """
    dataset = open_dataset(config)
    samples = read_table(run.checked, SAMPLES)
    if not samples["sample_id"].equals(dataset.samples["sample_id"]):
        raise DataError("the manifest changed since the run was started; start a new run")
    trained = run.model / "model.safetensors" if config.model.trains else None
    classifier = load_classifier(
        config.model,
        dataset.classes,
        choose_device(config),
        weights=trained,
        labels=list(config.data.label_columns),
    )
    layer = choose_layer(config, classifier)
    return Context(
        config,
        dataset,
        samples,
        classifier,
        layer,
        donors=donors_of(config, dataset, samples),
        precision=choose_precision(config, classifier, layer),
    )


def donors_of(config: Audit, dataset: Dataset, samples: pd.DataFrame) -> Donors | None:
    """Donors of the swap among the audited samples, or None where none is configured."""
    swap = config.interventions.swap
    if swap is None:
        return None
    eligible = np.zeros(len(samples), dtype=bool)
    eligible[usable(samples, "audit")] = True
    known = samples[attribute_column(swap.attribute)].astype(str) != UNKNOWN
    rows = dataset.rows.assign(sample_id=samples["sample_id"])
    clusters = pd.factorize(samples["cluster_id"].astype(str))[0].astype(np.int64)
    return choose_donors(rows, clusters, eligible & known.to_numpy(), swap)


def choose_layer(config: Audit, classifier: Classifier) -> str:
    """The layer to explain: as configured, or the last spatial one on the path of the score.

    Raises
    ------
    ModelError
        If the model has no module of the configured name.
    """
    if config.explain.layer == "auto":
        return find_layer(classifier.module, _probe(classifier), output=classifier.logits)
    names = [name for name, _ in classifier.module.named_modules() if name]
    if config.explain.layer not in names:
        raise ModelError(
            f"explain.layer: the model has no module '{config.explain.layer}'; "
            f"its last ones are {', '.join(names[-5:])}"
        )
    return config.explain.layer


def choose_precision(config: Audit, classifier: Classifier, layer: str) -> str:
    """The precision of the model up to the layer, which it computes in from now on."""
    wanted = config.execution.precision
    return set_precision(classifier.module, layer, wanted, _probe(classifier))


def why_this_layer(config: Audit, classifier: Classifier) -> str:
    """Why the layer is explained that :func:`choose_layer` names."""
    if config.explain.layer != "auto":
        return f"{config.explain.layer}, as configured"
    return layer_choice(classifier.module, _probe(classifier), output=classifier.logits).reason


def why_not_guided(config: Audit, classifier: Classifier) -> str | None:
    """Why there is no Guided Grad-CAM: switched off, or undefined; None where there is one."""
    if not config.explain.guided:
        return "switched off (explain.guided)"
    return guided_refusal(classifier.module, _probe(classifier), output=classifier.logits)


def _probe(classifier: Classifier) -> Tensor:
    return torch.zeros(1, 3, *classifier.input.size, device=classifier.device)


def choose_tests(context: Context) -> dict[str, str]:
    """For each required region, removal against a placebo, or sufficiency of all but core.

    Sufficiency says what rests on everything outside core, so it is the test of a region that is
    just that (nearly), and leaves no room for a placebo. Both are judged on some evenly spaced
    samples, for every class that forbids the region; classes that mean the same by their regions
    are judged once.
    """
    audited = context.audited
    forbidding = {
        region: [group[0] for group in context.tested_on(region)]
        for region in context.config.regions.names
    }
    required = {region: owners for region, owners in forbidding.items() if owners}
    if len(audited) == 0:
        return dict.fromkeys(required, REMOVAL)
    spaced = np.unique(np.linspace(0, len(audited) - 1, PLANNED_ON).round().astype(int))
    batch = context.load(audited[spaced])
    return {
        region: SUFFICIENCY
        if any(not _mostly_fits(context, batch, region, c) for c in owners)
        and all(_complements_core(context, batch, region, c) for c in owners)
        else REMOVAL
        for region, owners in required.items()
    }


def _mostly_fits(context: Context, batch: Batch, region: str, target_class: str) -> bool:
    """Whether a placebo fits most of the samples that have the region."""
    assert batch.coverage is not None
    mask = context.removed_mask(batch.coverage, region, target_class)
    avoid = context.avoid_mask(batch.coverage, target_class)
    ids = context.samples["sample_id"].iloc[batch.index].tolist()
    seeds = seeds_of(ids, region, context.config.seed)
    _, fits = placebos(context.config.interventions.placebo, mask, avoid, seeds)
    return int(fits.sum()) >= MOSTLY * int(mask.flatten(1).any(1).sum())


def _complements_core(context: Context, batch: Batch, region: str, target_class: str) -> bool:
    """Whether region and core are nearly the whole picture, in the median sample."""
    assert batch.coverage is not None
    core = context.config.regions.with_role("core", target_class)
    if not core:
        return False
    covered = context.region_mask(batch.coverage, [region, *core]).float().mean((1, 2))
    return float(covered.median()) >= NEARLY_ALL
