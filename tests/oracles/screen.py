"""The attention screen, picture by picture and permutation by permutation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import permutations, product
from typing import Any

import numpy as np


def _average(rows: Sequence[Any]) -> np.ndarray:
    return sum(np.asarray(row, dtype=np.float64) for row in rows) / len(rows)


def alignment(
    maps: Sequence[Any], masks: Sequence[Any], strata: Sequence[Any], clusters: Sequence[Any]
) -> dict[str, float]:
    """Effect and exact one-sided p: masks of clusters tried in every order within strata.

    Maps are flat; a cluster's stratum is the set of its samples' strata.
    """
    members: dict[Any, list[int]] = defaultdict(list)
    for i, cluster in enumerate(clusters):
        members[cluster].append(i)
    names = sorted(members)
    where = {c: frozenset(strata[i] for i in members[c]) for c in names}
    names = [c for c in names if sum(where[c] == other for other in where.values()) > 1]
    mass = {
        c: _average([np.maximum(maps[i], 0) / np.maximum(maps[i], 0).sum() for i in members[c]])
        for c in names
    }
    mask = {c: _average([masks[i] for i in members[c]]) for c in names}
    by_stratum: dict[Any, list[Any]] = defaultdict(list)
    for c in names:
        by_stratum[where[c]].append(c)
    blocks = list(by_stratum.values())
    seen = sum(float(mass[c] @ mask[c]) for c in names) / len(names)
    every = []
    for orders in product(*(list(permutations(block)) for block in blocks)):
        total = 0.0
        for block, order in zip(blocks, orders, strict=True):
            for c, other in zip(block, order, strict=True):
                total += float(mass[c] @ mask[other])
        every.append(total / len(names))
    return {
        "effect": seen - sum(every) / len(every),
        "p": sum(value >= seen - 1e-12 for value in every) / len(every),
        "clusters": len(names),
        "n": sum(len(members[c]) for c in names),
    }


def difference(
    values: Sequence[float], levels: Sequence[Any], clusters: Sequence[Any], level: Any
) -> tuple[list[float], list[float]]:
    """Cluster means of the samples of a level, and of the others."""
    sides: tuple[list[float], list[float]] = ([], [])
    for cluster in sorted(set(clusters)):
        for side, inside in zip(sides, (True, False), strict=True):
            own = [
                v
                for v, g, c in zip(values, levels, clusters, strict=True)
                if c == cluster and (g == level) == inside
            ]
            if own:
                side.append(sum(own) / len(own))
    return sides


def disparity(
    values: Sequence[float], levels: Sequence[Any], clusters: Sequence[Any], level: Any
) -> dict[str, float]:
    """Difference of means over clusters, Hedges' g and exact two-sided p.

    Every exchange of the levels of whole clusters that have one, times every exchange of the
    levels of the samples within each of the others.
    """

    def effect(labels: Sequence[Any]) -> float:
        inside, outside = difference(values, labels, clusters, level)
        return sum(inside) / len(inside) - sum(outside) / len(outside)

    names = sorted(set(clusters))
    places = {name: [i for i, c in enumerate(clusters) if c == name] for name in names}
    pure = [name for name in names if len({levels[i] for i in places[name]}) == 1]
    mixed = [name for name in names if name not in pure]
    seen, count, extreme = effect(levels), 0, 0
    whole = permutations([levels[places[name][0]] for name in pure])
    within = product(*(list(permutations([levels[i] for i in places[name]])) for name in mixed))
    inner = list(within)
    for given in whole:
        for lists in inner:
            labels = list(levels)
            for name, value in zip(pure, given, strict=True):
                for i in places[name]:
                    labels[i] = value
            for name, own in zip(mixed, lists, strict=True):
                for i, value in zip(places[name], own, strict=True):
                    labels[i] = value
            count += 1
            extreme += abs(effect(labels)) >= abs(seen) - 1e-12
    inside, outside = difference(values, levels, clusters, level)
    n1, n2 = len(inside), len(outside)
    spread = sum((v - sum(inside) / n1) ** 2 for v in inside)
    spread += sum((v - sum(outside) / n2) ** 2 for v in outside)
    df = n1 + n2 - 2
    return {
        "effect": seen,
        "p": extreme / count,
        "clusters": min(n1, n2),
        "g": seen / (spread / df) ** 0.5 * (1 - 3 / (4 * df - 1)),
    }


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The k-th smallest p times m over k, or a later one's if that is smaller."""
    m, order = len(p_values), sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * m
    for rank, i in enumerate(order):
        adjusted[i] = min(
            1.0, *(m / (later + 1) * p_values[order[later]] for later in range(rank, m)), 1.0
        )
    return adjusted
