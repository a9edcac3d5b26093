"""How often answers are kept when what the core says comes from another picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audit.evidence.intervals import (
    Codes,
    Floats,
    Interval,
    clustered_variance,
    distinct,
    effective_clusters,
    group_weights,
    interval_of,
    wilson,
)

PARTNERS = 1024  # pictures that lend what their core says
_CELLS = 2**22  # answers held at once


@dataclass(frozen=True)
class Exchange:
    """The rate at which answers are kept, and each picture's part in it.

    Attributes
    ----------
    answers
        [n] the class answered.
    rate
        Mean over the classes answered, of picture and of partner alike.
    kept
        [n] how often each picture keeps its answer, over its partners.
    let
        [n] how often each partner lets others keep theirs; 0 for pictures that are no partners.
    weights, partner_weights
        [n] of ``kept`` and of ``let``; each sums to 1, every class and in it every cluster alike.
    """

    answers: Codes
    rate: float
    kept: Floats
    let: Floats
    weights: Floats
    partner_weights: Floats

    def parts(self, less: float | None = None) -> Floats:
        """[n] each picture's part in the rate, as one that keeps and as one that lets.

        Less the mean of its answer in either, so that they sum to 0, or less a number.
        """
        kept, let = (
            values - (_means_by(self.answers, values, weights) if less is None else less)
            for values, weights in ((self.kept, self.weights), (self.let, self.partner_weights))
        )
        return self.weights * kept + self.partner_weights * let


def _means_by(answers: Codes, values: Floats, weights: Floats) -> Floats:
    """[n] weighted mean of the values of the same answer."""
    means = np.bincount(answers, weights * values) / np.bincount(answers, weights)
    return means[answers]


def exchange(
    before: Floats,
    after: Floats,
    clusters: Codes,
    rng: np.random.Generator,
    stands_for: Floats | None = None,
) -> Exchange | None:
    """Keep rate of the answers with the core's part in them drawn from other pictures.

    A picture's logits are ``before``, and ``after`` with its core hidden; the difference is what
    the core says. Added to the ``after`` of a picture of another cluster it makes the logits that
    picture would have with this core, if the two parts add up. That is ``1/K`` for a model that
    reads the core alone, 1 for one that reads the rest alone. What hiding does to every picture
    alike (a grey patch may favour a class) cancels; counting the answers to the hidden pictures
    themselves would take it for evidence.

    Parameters
    ----------
    before, after
        [n, K] logits.
    clusters
        [n] cluster of each picture.
    rng
        Chooses ``PARTNERS`` pictures where there are more.
    stands_for
        [n] clusters that each picture's cluster stands for; None where all are there.

    Returns
    -------
    Exchange or None
        None where a logit is missing, a class is no picture's answer, or a picture has no partner
        of some class.
    """
    n, k = before.shape
    if before.shape != after.shape or not np.isfinite([before, after]).all() or n * k == 0:
        return None
    answers = before.argmax(1)
    if np.bincount(answers, minlength=k).min() == 0:
        return None
    drawn_for = np.ones(n) if stands_for is None else stands_for
    weights = group_weights(answers, k, clusters, drawn_for)
    partners = _partners(answers, k, rng)
    lent = group_weights(answers[partners], k, clusters[partners], drawn_for[partners])
    said = (before - after)[partners]
    kept, let, heard = np.zeros(n), np.zeros(partners.size), np.zeros(partners.size)
    chunk = max(1, _CELLS // (partners.size * k))
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        same = (after[rows, None] + said).argmax(2) == answers[rows, None]
        foreign = clusters[rows, None] != clusters[partners]
        kept[rows] = _balanced(same, foreign, lent, answers[partners], k)
        let += weights[rows] @ (same & foreign)
        heard += weights[rows] @ foreign
    if np.isnan(kept).any() or heard.min() == 0:
        return None
    spread = np.zeros((2, n))
    spread[:, partners] = let / heard, lent
    return Exchange(answers, min(float(weights @ kept), 1.0), kept, spread[0], weights, spread[1])


def _partners(answers: Codes, k: int, rng: np.random.Generator) -> Codes:
    """All pictures, or as many of each answer as make ``PARTNERS`` together."""
    if answers.size <= PARTNERS:
        return np.arange(answers.size)
    of_each = [np.flatnonzero(answers == answer) for answer in range(k)]
    most = max(1, PARTNERS // k)
    return np.sort(np.concatenate([rng.permutation(group)[:most] for group in of_each]))


def _balanced(
    same: NDArray[np.bool_], foreign: NDArray[np.bool_], lent: Floats, answers: Codes, k: int
) -> Floats:
    """Mean over the partners' answers of the weighted part that is the same, NaN if one lacks."""
    parts = []
    for answer in range(k):
        of = lent * (answers == answer)
        with np.errstate(invalid="ignore"):
            parts.append(((same & foreign) @ of) / (foreign @ of))
    mean: Floats = np.mean(parts, axis=0)
    return mean


def keep_rate(found: Exchange, clusters: Codes, confidence: float) -> Interval:
    """The rate with its interval: Wilson at the effective number of pictures.

    The variance is that of the estimate's projection on the clusters (Hoeffding), a picture
    counting by what it keeps and by what it lets others keep. The effective number is never more
    than one picture for each cluster of each answer.

    Parameters
    ----------
    found
        Of :func:`exchange`.
    clusters
        [n] cluster of each picture.
    confidence
        Of the two-sided interval and of each one-sided limit.
    """
    p, answers = found.rate, found.answers
    sizes = [distinct(clusters[answers == answer]) for answer in np.unique(answers)]
    most = len(sizes) ** 2 / sum(1 / size for size in sizes)
    variance = clustered_variance(found.parts(), clusters)
    size = min(most, p * (1 - p) / variance) if variance > 0 else most
    units = effective_clusters(found.weights, clusters)

    def bounds(alpha: float) -> tuple[float, float]:
        few = stats.norm.ppf(1 - alpha / 2) / stats.t.ppf(1 - alpha / 2, max(units - 1, 1))
        return wilson(p, max(1.0, size * float(few) ** 2), alpha)

    return interval_of(p, confidence, bounds)
