"""The statistics of the evidence, written as slowly and obviously as their definitions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd


def wilson(hits: float, n: float, z: float) -> tuple[float, float]:
    """The rates pi at which (p - pi)^2 = z^2 pi (1 - pi) / n: the roots of a quadratic."""
    p = hits / n
    low, high = sorted(np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p]).real)
    return float(low), float(high)


def newcombe_paired(
    both: float, first: float, second: float, neither: float, z: float
) -> tuple[float, float]:
    """Method 10 of Newcombe (1998), step by step as the paper lists it."""
    a, b, c, d = both, first, second, neither
    n = a + b + c + d
    l2, u2 = wilson(a + b, n, z)
    l3, u3 = wilson(a + c, n, z)
    dl2, du2 = (a + b) / n - l2, u2 - (a + b) / n
    dl3, du3 = (a + c) / n - l3, u3 - (a + c) / n
    if 0 in (a + b, c + d, a + c, b + d):
        phi = 0.0
    else:
        numerator = a * d - b * c
        if numerator > n / 2:
            numerator -= n / 2
        elif numerator >= 0:
            numerator = 0
        phi = numerator / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    delta = math.sqrt(dl2**2 - 2 * phi * dl2 * du3 + du3**2)
    epsilon = math.sqrt(du2**2 - 2 * phi * du2 * dl3 + dl3**2)
    return (b - c) / n - delta, (b - c) / n + epsilon


def effective_size(
    values: Sequence[float], weights: Sequence[float], clusters: Sequence[Any]
) -> float:
    """Variance of one sample over the variance between clusters of the weighted mean."""
    n = len(values)
    mean = sum(w * v for w, v in zip(weights, values, strict=True))
    totals: dict[Any, float] = defaultdict(float)
    for value, weight, cluster in zip(values, weights, clusters, strict=True):
        totals[cluster] += weight * (value - mean)
    c = len(totals)
    of_the_mean = c / (c - 1) * sum(total**2 for total in totals.values())
    squares = [w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)]
    of_one = n / (n - 1) * sum(squares)
    return min(float(n), of_one / of_the_mean)


def exchanged(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], clusters: Sequence[Any]
) -> float:
    """Keep rate when what the core says comes from each other picture in turn."""

    def answer(logits: Sequence[float]) -> int:
        return max(range(len(logits)), key=lambda c: logits[c])

    n, k = len(before), len(before[0])
    answers = [answer(logits) for logits in before]

    def mean_over_clusters(members: Sequence[int], value: Any) -> float:
        names = sorted({clusters[i] for i in members})
        means = []
        for name in names:
            own = [value(i) for i in members if clusters[i] == name]
            means.append(sum(own) / len(own))
        return sum(means) / len(means)

    def kept(i: int) -> float:
        parts = []
        for c in range(k):
            partners = [j for j in range(n) if answers[j] == c and clusters[j] != clusters[i]]

            def same(j: int) -> float:
                mixed = [after[i][m] + before[j][m] - after[j][m] for m in range(k)]
                return float(answer(mixed) == answers[i])

            parts.append(mean_over_clusters(partners, same))
        return sum(parts) / k

    by_answer = [[i for i in range(n) if answers[i] == c] for c in range(k)]
    return sum(mean_over_clusters(members, kept) for members in by_answer) / k


def sign_flip(values: Sequence[float], clusters: Sequence[Any]) -> float:
    """Share of all sign assignments to clusters whose total is at least the one seen."""
    names = sorted(set(clusters))
    seen = sum(values)
    at_least = 0
    for signs in product((1, -1), repeat=len(names)):
        sign = dict(zip(names, signs, strict=True))
        total = sum(sign[cluster] * value for value, cluster in zip(values, clusters, strict=True))
        at_least += total >= seen - 1e-9
    return at_least / float(2 ** len(names))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: the k-th smallest times what is left, never decreasing."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def reliance(
    samples: pd.DataFrame,
    trials: pd.DataFrame,
    *,
    region: str,
    test: str,
    fill: str,
    predicted: str,
    sd: float,
) -> dict[str, float]:
    """Excess flips and margin drop over the pairs of one region, act and class, row by row."""
    by_cluster: dict[str, list[tuple[float, float]]] = defaultdict(list)
    excluded = 0
    done = trials.to_dict("records")
    for sample in samples.to_dict("records"):
        if sample["prediction"] != predicted:
            continue
        arms = {
            trial["arm"]: trial
            for trial in done
            if trial["sample_id"] == sample["sample_id"]
            and (trial["region"], trial["test"], trial["fill"]) == (region, test, fill)
        }
        if not arms:
            excluded += 1
            continue
        if set(arms) != {"act", "placebo"}:  # half a pair: nobody knows
            by_cluster[sample["cluster_id"]].append((math.nan, math.nan))
            continue
        changed = {
            arm: trial["prediction_after"] != trial["prediction_before"]
            for arm, trial in arms.items()
        }
        excess = int(changed["act"]) - int(changed["placebo"])
        drop = (arms["placebo"]["margin_after"] - arms["act"]["margin_after"]) / sd
        by_cluster[sample["cluster_id"]].append((excess, drop))
    means = [
        (sum(e for e, _ in pairs) / len(pairs), sum(d for _, d in pairs) / len(pairs))
        for pairs in by_cluster.values()
    ]
    return {
        "n": sum(map(len, by_cluster.values())),
        "clusters": len(by_cluster),
        "excluded": excluded,
        "effect": sum(e for e, _ in means) / len(means),
        "margin_effect": sum(d for _, d in means) / len(means),
    }


def difference_of_rates(
    hits: tuple[dict[str, list[int]], dict[str, list[int]]], z: float
) -> tuple[float, float, float]:
    """First rate less second, of clusters of one sample by name, as MOVER has it (Zou 2007).

    Wilson's limits of each, joined by the correlation of the two sums over clusters, which is
    corrected for continuity as in Newcombe's method 10; a cluster that is in one only adds to the
    spread of its own and to nothing they have in common.
    """
    rates, limits, parts = [], [], []
    for by_cluster in hits:
        flat = [hit for cluster in by_cluster.values() for hit in cluster]
        rate = sum(flat) / len(flat)
        rates.append(rate)
        limits.append(wilson(sum(flat), len(flat), z))
        parts.append(
            {name: sum(hit - rate for hit in cluster) for name, cluster in by_cluster.items()}
        )
    together = sum(part * parts[1].get(name, 0.0) for name, part in parts[0].items())
    if together > 0:
        together = max(together - 1 / 2, 0.0)
    spread = [sum(part**2 for part in own.values()) for own in parts]
    r = together / math.sqrt(spread[0] * spread[1]) if all(spread) else 0.0
    (l1, u1), (l2, u2) = limits
    d1, d2 = rates[0] - l1, u2 - rates[1]
    e1, e2 = u1 - rates[0], rates[1] - l2
    difference = rates[0] - rates[1]
    return (
        difference,
        difference - math.sqrt(d1**2 + d2**2 - 2 * r * d1 * d2),
        difference + math.sqrt(e1**2 + e2**2 - 2 * r * e1 * e2),
    )
