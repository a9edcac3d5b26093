"""What the checks look at: some audited samples with their maps, and the model that explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from audit.attention.measure import measure
from audit.attribution import attribute
from audit.config import Audit
from audit.context import Context
from audit.evidence.intervals import Codes
from audit.geometry import coverage_to_grid
from audit.models.classifier import Classifier

Mask = npt.NDArray[np.bool_]
Tick = Callable[[], None]


@dataclass(frozen=True)
class Subject:
    """Some samples with their Grad-CAM of the true class, on the model's device.

    Attributes
    ----------
    config, classifier, layer
        The audit, the model, and the layer explained.
    ids
        Names of the n samples.
    clusters
        ``[n]`` code of each sample's cluster.
    pictures
        ``[n, 3, H, W]`` uint8.
    classes
        ``[n]`` int64, the true classes.
    core
        ``[n, H, W]`` coverage by the core of the true class; 0 where it has none.
    regions
        ``[n, R, h, w]`` every region pooled to the grid of the map.
    logits
        ``[n, K]``.
    maps
        ``[n, h, w]``, raw and signed.
    tick
        Called after each piece of the work.
    """

    config: Audit
    classifier: Classifier
    layer: str
    ids: list[str]
    clusters: Codes
    pictures: Tensor
    classes: Tensor
    core: Tensor
    regions: Tensor
    logits: Tensor
    maps: Tensor
    tick: Tick

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return self.maps.shape[-2], self.maps.shape[-1]

    @cached_property
    def core_on_grid(self) -> Tensor:
        """Core pooled to the grid, ``[n, h, w]``."""
        return coverage_to_grid(self.core, self.grid)

    @cached_property
    def has_core(self) -> Mask:
        """Samples whose true class has a core, and that show it on two cells or more."""
        enough = measure(self.maps, self.core_on_grid[:, None]).measurable[:, 0]
        found: Mask = enough.cpu().numpy()
        return found

    def few(self, count: int) -> Subject:
        """Evenly spaced ones of the samples, in their order; all of them if they are no more."""
        if len(self.ids) <= count:
            return self
        kept = _spaced(len(self.ids), count)
        at = torch.from_numpy(kept).to(self.pictures.device)
        tensors = ("pictures", "classes", "core", "regions", "logits", "maps")
        return replace(
            self,
            ids=[self.ids[i] for i in kept],
            clusters=self.clusters[kept],
            **{name: getattr(self, name)[at] for name in tensors},
        )

    def slices(self) -> Iterator[slice]:
        """The samples in batches; a piece of the work is done after each."""
        size = self.config.execution.batch_size
        for start in range(0, len(self.ids), size):
            yield slice(start, start + size)
            self.tick()

    def explain(self, module: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
        """Grad-CAM ``[n, k, h, w]`` of the classes ``[n, k]`` by a model such as this one."""
        size = self.config.execution.batch_size
        starts = range(0, len(pictures), size)
        parts = [(pictures[i : i + size], classes[i : i + size]) for i in starts]
        found = [_maps(self.classifier, self.layer, module, *part)[1] for part in parts]
        return torch.cat(found)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits ``[B, K]`` of pictures in 0..1; with a graph where gradients are on."""
        return self.logits_of(self.classifier.prepare(pictures))

    def logits_of(self, images: Tensor) -> Tensor:
        """Logits ``[B, K]`` of normalised images; the model may write to a copy of them."""
        return self.classifier.logits(self.classifier.module(images.clone())).float()


def chosen(context: Context, count: int) -> npt.NDArray[np.int64]:
    """Positions of evenly spaced audited samples, in the order of their names."""
    audited = context.audited
    ids = context.samples["sample_id"].to_numpy(object)[audited]
    by_name = audited[np.argsort(ids.astype(str), kind="stable")]
    return by_name if len(by_name) <= count else by_name[_spaced(len(by_name), count)]


def _spaced(total: int, count: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, total - 1, count).round().astype(np.int64)


def subject_of(context: Context, positions: npt.NDArray[np.int64], tick: Tick) -> Subject:
    """Load samples and explain them.

    Raises
    ------
    ModelError
        If the model cannot be explained.
    """
    config, classifier = context.config, context.classifier
    samples = context.samples.iloc[positions]
    ids = {name: i for i, name in enumerate(classifier.classes)}
    labels = samples["label"].astype(str)
    classes = torch.tensor([ids[name] for name in labels], device=classifier.device)
    pictures, core, regions, logits, maps = [], [], [], [], []
    start = 0
    for batch in context.batches(positions):
        assert batch.coverage is not None
        own = slice(start, start := start + len(batch.index))
        asked = classes[own, None]
        scores, map_ = _maps(classifier, context.layer, classifier.module, batch.images, asked)
        pictures.append(batch.images)
        core.append(_core(config, batch.coverage, labels.iloc[own].tolist()))
        regions.append(coverage_to_grid(batch.coverage, (map_.shape[-2], map_.shape[-1])))
        logits.append(scores)
        maps.append(map_[:, 0])
        tick()
    return Subject(
        config=config,
        classifier=classifier,
        layer=context.layer,
        ids=samples["sample_id"].astype(str).tolist(),
        clusters=pd.factorize(samples["cluster_id"].astype(str), sort=True)[0],
        pictures=torch.cat(pictures),
        classes=classes,
        core=torch.cat(core),
        regions=torch.cat(regions),
        logits=torch.cat(logits),
        maps=torch.cat(maps),
        tick=tick,
    )


def _maps(
    classifier: Classifier, layer: str, module: nn.Module, pictures: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits and maps ``[B, k, h, w]`` of the classes ``[B, k]``."""
    images = classifier.prepare(pictures)
    found = attribute(module, images, lambda _: classes, layer=layer, output=classifier.logits)
    return found.logits, found.maps


def _core(config: Audit, coverage: Tensor, labels: list[str]) -> Tensor:
    """Coverage ``[B, h, w]`` by core of each sample's class; regions that overlap: at most 1."""
    names = config.regions.names
    member = torch.zeros(len(labels), len(names), device=coverage.device)
    for row, label in enumerate(labels):
        for name in config.regions.with_role("core", label):
            member[row, names.index(name)] = 1
    return torch.einsum("br,brhw->bhw", member, coverage).clamp(max=1)
