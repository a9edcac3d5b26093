"""The checks that inform: what the maps are worth, in numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from audit.attention.measure import measure
from audit.attribution.state import undisturbed
from audit.checks.agreement import agreement
from audit.checks.curves import deletion_areas, descending, shuffled
from audit.checks.localisation import localisation
from audit.checks.pointing import TOP, pointing_credit, pointing_with_reject
from audit.checks.ranks import rank_correlation
from audit.checks.robustness import adversarial
from audit.checks.rows import Row, interval_of_mean, undefined
from audit.checks.subject import Mask, Subject
from audit.evidence.intervals import Floats, distinct, equal_weights
from audit.evidence.signflip import generator
from audit.interventions.fills import fill
from audit.interventions.trials import seeds_of


def curves(subject: Subject) -> list[Row]:
    """Deletion and insertion of cells in the map's order, against random order."""
    cells = subject.grid[0] * subject.grid[1]
    seeds = seeds_of(subject.ids, "order", subject.config.seed)
    noise = seeds_of(subject.ids, "blur", subject.config.seed)
    parts = []
    with undisturbed(subject.classifier.module), torch.no_grad():
        for own in subject.slices():
            pictures = subject.pictures[own].float() / 255
            everywhere = torch.ones_like(pictures[:, 0], dtype=torch.bool)
            first = descending(subject.maps[own])
            orders = [first, first.flip(1), shuffled(len(pictures), cells, seeds[own])]
            target = subject.classes[own, None]

            def probability(altered: Tensor, target: Tensor = target) -> Tensor:
                return subject.forward(altered).softmax(1).gather(1, target)[:, 0]

            removed = fill("blur", pictures, everywhere, noise[own])
            parts.append(deletion_areas(probability, pictures, removed, orders, subject.grid))
    falling, rising, chance = torch.cat(parts, 1).cpu().double().numpy()
    places = subject.maps.flatten(1)
    ranked = (places.amax(1) > places.amin(1)).cpu().numpy()
    unit = "in probability of the true class; 0 is no better than chance."
    deletion = "How much faster the answer goes when cells are blurred in the map's order than in "
    insertion = "How much faster the answer comes when cells are shown in the map's order than in "
    return [
        _row(subject, chance - falling, ranked, "curves", "deletion",
             f"{deletion}random order, {unit}", 0.0),
        _row(subject, rising - chance, ranked, "curves", "insertion",
             f"{insertion}random order, {unit}", 0.0),
    ]  # fmt: skip


def occlusion_agreement(subject: Subject) -> list[Row]:
    """Rank correlation with occlusion maps."""
    found = []
    with undisturbed(subject.classifier.module), torch.no_grad():
        for own in subject.slices():
            target = subject.classes[own, None]

            def scores(images: Tensor, target: Tensor = target) -> Tensor:
                return subject.logits_of(images).gather(1, target)

            images = subject.classifier.prepare(subject.pictures[own])
            found.append(agreement(scores, images, subject.maps[own]))
    values = np.concatenate(found)
    meaning = (
        "Rank correlation (-1 to 1) of the map with the drop of the score when places are hidden; "
        "0 is no relation."
    )
    defined = np.isfinite(values)
    return [_row(subject, values, defined, "agreement", "rank correlation", meaning, 0.0)]


def pointing(subject: Subject) -> list[Row]:
    """The pointing game, plain and with the option to reject."""
    core = subject.core_on_grid
    credit = pointing_credit(subject.maps, core)
    plain = subject.has_core & np.isfinite(credit)
    top = subject.logits.topk(min(TOP, subject.logits.shape[1]), dim=1).indices
    module = subject.classifier.module
    maps = torch.cat(
        [subject.explain(module, subject.pictures[own], top[own]) for own in subject.slices()]
    )
    present = (top == subject.classes[:, None]).cpu().numpy()
    peaks = maps.clamp(min=0).amax((-2, -1)).cpu().double().numpy()
    credits = np.stack([pointing_credit(maps[:, k], core) for k in range(maps.shape[1])], 1)
    shown = subject.has_core
    hits = np.full(len(shown), np.nan)
    if shown.any():
        rng = generator(subject.config.seed, "pointing")
        hits[shown] = pointing_with_reject(
            credits[shown], peaks[shown], present[shown], subject.clusters[shown], rng
        )
    area = core.mean((1, 2)).cpu().double().numpy()
    never = (~present).mean(axis=1)
    rejecting = (
        "Part of the maps of the model's first classes that point at core, or are rejected where "
        "the class is absent; the yardstick is the part that rejecting all would score."
    )
    return [
        _row(subject, credit, plain, "pointing", "hit rate",
             "Part of the maps whose maximum lies on core; the yardstick is core's part of the "
             "picture, which a random place would hit.", _mean(subject, area, plain), event=True),
        _row(subject, hits, shown, "pointing", "hit rate with reject option", rejecting,
             _mean(subject, never, shown)),
    ]  # fmt: skip


def localisation_of_core(subject: Subject) -> list[Row]:
    """Error of the box at 15 % of the maximum, and overlap of the marked area with core.

    Beside them what a map that marks everything gives, and core itself as a map: on a coarse grid
    15 % of the maximum reaches far, and even that map's box may be too large.
    """
    found = []
    for own in subject.slices():
        maps, core, exact = subject.maps[own], subject.core[own], subject.core_on_grid[own]
        found.append([localisation(m, core) for m in (maps, torch.ones_like(maps), exact)])
    # [map | everything | core] x [error | overlap] x samples
    values = np.concatenate([np.array(part) for part in found], axis=2)
    used = np.isfinite(values[0, 0])
    means = {
        "error": "Part of the pictures in which the box around the marked area and core's box "
        "overlap by less than a half",
        "overlap": "Intersection over union (0 to 1) of the marked area with core",
    }
    return [
        _row(
            subject,
            values[0, k],
            used,
            "localisation",
            statistic,
            f"{meaning}; the yardstick is that of marking everything; core itself, on this grid, "
            f"would have {_mean(subject, values[2, k], used):.2f}.",
            _mean(subject, values[1, k], used),
            event=statistic == "error",
        )
        for k, (statistic, meaning) in enumerate(means.items())
    ]


def robustness(subject: Subject) -> list[Row]:
    """Whether the true class's map stays where it lay when an adversary changed the answer."""
    config, module = subject.config.checks, subject.classifier.module
    predicted = subject.logits.argmax(1)
    changed, maps = [], []
    for own in subject.slices():
        pictures = subject.pictures[own].float() / 255
        with undisturbed(module):
            altered = adversarial(
                subject.forward, pictures, predicted[own], config.epsilon, config.steps
            )
            with torch.no_grad():
                changed.append(subject.forward(altered).argmax(1) != predicted[own])
        maps.append(subject.explain(module, altered, subject.classes[own, None])[:, 0])
    flipped = torch.cat(changed).cpu().numpy()
    # Where the answer was wrong before, the true class's map had not won anything to lose.
    lost = flipped & (predicted == subject.classes).cpu().numpy()
    after = torch.cat(maps)
    alike = rank_correlation(subject.maps, after)
    moved = _core_share(subject, after) - _core_share(subject, subject.maps)
    everyone = np.ones(len(flipped), dtype=bool)
    where = "where an unseen perturbation made a right answer wrong"
    return [
        _row(subject, flipped.astype(np.float64), everyone, "robustness", "changed answers",
             f"Part of the answers that a change of at most {255 * config.epsilon:.3g}/255 per "
             "pixel, made for it, turns.", event=True),
        _row(subject, alike, lost & np.isfinite(alike), "robustness", "rank correlation",
             f"Rank correlation (-1 to 1) of the true class's map before and after, {where}; "
             "1 is unmoved."),
        _row(subject, moved, lost & subject.has_core & np.isfinite(moved), "robustness",
             "share on core",
             f"Change of the share (in parts of 1) of the true class's map on core, {where}; "
             "0 is unmoved.", 0.0),
    ]  # fmt: skip


def _core_share(subject: Subject, maps: Tensor) -> Floats:
    share: Floats = measure(maps, subject.core_on_grid[:, None]).share[:, 0].cpu().double().numpy()
    return share


_NONE_LEFT = {
    "pointing": "no picture has a core of its class on two cells or more and a map of it.",
    "localisation": "no picture shows a core of its class and has a map of it.",
    "robustness": "no right answer changed, or no picture has what it takes to compare.",
}


def _row(
    subject: Subject,
    values: Floats,
    used: Mask,
    check: str,
    statistic: str,
    meaning: str,
    threshold: float = math.nan,
    *,
    event: bool = False,
) -> Row:
    """A row that informs, of one value per sample."""
    if not used.any():
        why = _NONE_LEFT.get(check, "the maps are the same everywhere, so they have no order.")
        return undefined(check, why, statistic)
    clusters = subject.clusters[used]
    return Row(
        check=check,
        statistic=statistic,
        n=int(used.sum()),
        clusters=distinct(clusters),
        interval=interval_of_mean(subject, values[used], clusters, check, statistic, event=event),
        threshold=threshold,
        meaning=meaning,
    )


def _mean(subject: Subject, values: Floats, used: Mask) -> float:
    """Mean in which every cluster counts the same, as in the rows."""
    return float(equal_weights(subject.clusters[used]) @ values[used]) if used.any() else math.nan
