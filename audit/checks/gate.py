"""The gate: maps must follow the weights, and random models must find no region."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import stats
from torch import Tensor, nn

from audit.attention.measure import measure
from audit.checks.alignment import cells_of, consistent_p, mass_of, units_of
from audit.checks.randomisation import ALL_WEIGHTS, Stage, cascade, stages_of
from audit.checks.ranks import rank_correlation
from audit.checks.rows import RESAMPLES, Row, interval_of_mean, undefined
from audit.checks.subject import Subject
from audit.config import Checks
from audit.errors import ModelError
from audit.evidence.alignment import contributions, exchange_p
from audit.evidence.correction import HOLM, corrected
from audit.evidence.intervals import (
    Codes,
    Floats,
    Interval,
    cluster_sums,
    distinct,
    interval_of,
)
from audit.evidence.signflip import generator

CHECK = "randomisation"
EARLY_DRAWS = 5  # in which the earlier stages are looked at, for they inform alone
BLIND = 0.9  # mean agreement of random models' maps of different pictures: they do not see them


def passes(config: Checks) -> int:
    """How often samples are explained, at most."""
    return config.draws + EARLY_DRAWS * (config.stages - 1)


def randomisation(subject: Subject) -> list[Row]:
    """Agreement of the model's maps with those of ever more random models, and their alignment.

    The stages before the end see few of the samples.
    """
    config, module = subject.config.checks, subject.classifier.module
    few, one = subject.few(config.few), subject.few(1)
    stages = stages_of(module, lambda model: _maps(one, model), config.stages)
    if not stages:
        raise ModelError("the model has no weights that could be made random")
    agreed: dict[str, list[Floats]] = {stage.name: [] for stage in stages}
    random_maps = []
    for draw in range(config.draws):
        seed = int(generator(subject.config.seed, CHECK, str(draw)).integers(2**62))
        for stage, altered in cascade(module, stages, seed):
            end = stage.name == ALL_WEIGHTS
            if not end and draw >= EARLY_DRAWS:
                continue
            looked_at = subject if end else few
            maps = _maps(looked_at, altered)
            agreed[stage.name].append(np.abs(rank_correlation(looked_at.maps, maps)))
            if end:
                random_maps.append(maps)
            subject.tick()
    *earlier, last = ((stage, np.stack(agreed[stage.name])) for stage in stages)
    return [
        *(_agreement_row(few, *found) for found in earlier),
        _unless_blind(_agreement_row(subject, *last), random_maps),
        *_alignment_rows(subject, random_maps),
    ]


def _maps(subject: Subject, module: nn.Module) -> Tensor:
    return subject.explain(module, subject.pictures, subject.classes[:, None])[:, 0]


def _unless_blind(end: Row, random_maps: list[Tensor]) -> Row:
    """Undecided where random models have the same map for any picture: no wonder it is unlike."""
    alike = [_mean(rank_correlation(maps, maps.roll(len(maps) // 2, 0))) for maps in random_maps]
    if end.passed is None or np.mean(alike) <= BLIND:
        return end
    why = "Undecided: random models of this kind have the same map for every picture. "
    return replace(end, passed=None, meaning=why + end.meaning)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def _agreement_row(subject: Subject, stage: Stage, drawn: Floats) -> Row:
    """Mean |Spearman| of ``[draws, n]``; samples and draws vary, and the wider interval counts."""
    gates, limit = stage.name == ALL_WEIGHTS, subject.config.checks.max_correlation
    known = np.isfinite(drawn).any(axis=0)
    if not known.any():
        why = "the maps are the same everywhere, so they have no ranks."
        return replace(undefined(CHECK, why, "rank correlation", gates=gates), stage=stage.name)
    clusters = subject.clusters[known]
    values = np.nanmean(drawn[:, known], axis=0)
    interval = interval_of_mean(subject, values, clusters, CHECK, stage.name, event=False)
    per_draw = _means_of_draws(drawn[:, known], clusters)
    interval = _wider(interval, _over_draws(subject, per_draw))
    enough = (
        distinct(clusters) >= subject.config.policy.min_clusters
        and per_draw.size == len(drawn)
        and math.isfinite(interval.upper_limit)
    )
    return Row(
        check=CHECK,
        statistic="rank correlation",
        stage=stage.name,
        n=int(known.sum()),
        clusters=distinct(clusters),
        interval=interval,
        threshold=limit if gates else math.nan,
        gates=gates,
        passed=interval.upper_limit < limit if gates and enough else None,
        meaning="How alike (|Spearman|, 0 to 1) maps are before and after these weights were made "
        "random; maps that follow the model do not stay alike.",
    )


def _means_of_draws(drawn: Floats, clusters: Codes) -> Floats:
    """Mean of each draw, every cluster counting the same; draws without any value left out."""
    means = []
    for values in drawn:
        known = np.isfinite(values)
        if known.any():
            by = clusters[known]
            sizes = cluster_sums(np.ones(by.size), by)
            means.append(float((cluster_sums(values[known], by) / sizes).mean()))
    return np.array(means)


def _over_draws(subject: Subject, means: Floats) -> Interval:
    """The t interval: draws are too few for a bootstrap."""
    mean = float(means.mean())
    if means.size < 2:
        return Interval(mean)
    error = float(means.std(ddof=1)) / math.sqrt(means.size)

    def bounds(alpha: float) -> tuple[float, float]:
        reach = error * float(stats.t.ppf(1 - alpha / 2, means.size - 1))
        return mean - reach, mean + reach

    return interval_of(mean, subject.config.statistics.confidence, bounds)


def _wider(one: Interval, other: Interval) -> Interval:
    """The estimate of the first with the outermost limits of both, within 0 and 1.

    A limit that is undefined in either stays so.
    """
    low, lower_limit = (
        float(np.clip(np.minimum(getattr(one, name), getattr(other, name)), 0, 1))
        for name in ("low", "lower_limit")
    )
    high, upper_limit = (
        float(np.clip(np.maximum(getattr(one, name), getattr(other, name)), 0, 1))
        for name in ("high", "upper_limit")
    )
    return Interval(one.effect, low, high, lower_limit, upper_limit)


def _alignment_rows(subject: Subject, random_maps: list[Tensor]) -> list[Row]:
    """Excess share of the random models' maps on each region over that on others' masks.

    Edges and contrasts draw random filters too, so with enough pictures hardly a region is without
    any excess; one that is shown to be small passes.
    """
    mass = np.stack([mass_of(maps) for maps in random_maps])
    rows = [
        _alignment_row(subject, mass, region, name)
        for region, name in enumerate(subject.config.regions.names)
    ]
    adjusted = corrected([row.p for row in rows], HOLM).tolist()
    return [
        replace(row, p=p, passed=_aligned_passes(row, p, subject.config.policy.alpha))
        if math.isfinite(p)
        else row
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _aligned_passes(row: Row, p: float, alpha: float) -> bool | None:
    """Shown to be small; or neither significant nor as large as what would have to be shown."""
    if row.interval.upper_limit < row.threshold:
        return True
    if p < alpha:
        return False
    return None if row.interval.effect >= row.threshold else True


def _alignment_row(subject: Subject, mass: Floats, region: int, name: str) -> Row:
    """Outside the null where the excess is neither chance of the samples nor of the weights.

    A random model's maps lean towards or away from a region as its weights happen to fall, alike
    in all samples; the mean of a few is no sign of alignment until the draws agree. So the p is the
    larger of the permutation of masks and the t-test over draws (an intersection-union test).

    ``mass`` is ``[draws, n, cells]``, the parts of each map; 0 where it is dead.
    """
    masks = subject.regions[:, region]
    shown = measure(subject.maps, masks[:, None]).measurable[:, 0].cpu().numpy()
    classes, clusters = subject.classes.cpu().numpy()[shown], subject.clusters[shown]
    parts, mask = mass[:, shown], masks.flatten(1).cpu().double().numpy()[shown]
    cells = cells_of(classes, clusters)
    drawn = [units_of(own, mask, cells, clusters) for own in parts]
    means = np.array([contributions(units).mean() for units in drawn if units.strata.size])
    if means.size < 2:
        why = "too few pictures show the region on two cells of the grid, or maps are dead."
        row = undefined(CHECK, why, "alignment", gates=bool(shown.any()))
        return replace(row, stage=ALL_WEIGHTS, region=name)
    units = units_of(parts.sum(axis=0), mask, cells, clusters)
    rng = generator(subject.config.seed, "alignment", name)
    (by_masks,) = exchange_p(units, rng, RESAMPLES, RESAMPLES)
    live = parts.any(axis=(0, 2))
    return Row(
        check=CHECK,
        statistic="alignment",
        stage=ALL_WEIGHTS,
        region=name,
        n=int(live.sum()),
        clusters=distinct(clusters[live]),
        interval=_over_draws(subject, means),
        p=max(float(by_masks), consistent_p(means)),
        threshold=subject.config.checks.max_alignment,
        gates=True,
        meaning="Share of random models' maps on the region, less what they put on the regions of "
        "other pictures (in parts of 1; of the class, if it has enough); above 0 a map finds the "
        "region without a model.",
    )
