"""Whether the samples of a cue are more often wrong, or more often of one subgroup."""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.evidence.intervals import Codes, Floats, cluster_sums

_TIE = 1e-12  # totals this close, relative to the largest possible, are equal


def permutation_p(
    member: Floats, events: Floats, clusters: Codes, resamples: int, rng: np.random.Generator
) -> Floats:
    """Two-sided p of "member and event are independent", permuting whole clusters.

    A cluster is one observation: its part of members, and its part of events. The statistic is
    their covariance over clusters; ``p = (1 + #{|T*| >= |T|}) / (resamples + 1)``. Where every
    cluster is one sample this is the permutation form of Fisher's exact test. By hand because one
    set of permutations serves all events; otherwise ``scipy.stats.permutation_test`` of pairings.

    Parameters
    ----------
    member
        ``[n]``, 1 for the samples of the cue, else 0.
    events
        ``[n, E]``, 1 where the event holds.
    clusters
        ``[n]``, cluster of each sample.
    resamples
        Permutations.
    rng
        Their source.

    Returns
    -------
    ``[E]``; 1 where nothing varies.

    Examples
    --------
    >>> odd, rng = np.arange(8) % 2.0, np.random.default_rng(0)
    >>> bool(permutation_p(odd, odd[:, None], np.arange(8), 999, rng)[0] < 0.1)
    True
    """
    sizes = cluster_sums(np.ones(clusters.size), clusters)
    x = cluster_sums(member, clusters) / sizes
    y = np.stack([cluster_sums(event, clusters) / sizes for event in events.T], axis=1)
    x, y = x - x.mean(), y - y.mean(axis=0)
    seen = np.abs(x @ y)
    shuffled = rng.permuted(np.broadcast_to(x, (resamples, x.size)), axis=1)
    tie = _TIE * np.abs(x).sum() * np.abs(y).max(axis=0, initial=0)
    p: Floats = (1 + (np.abs(shuffled @ y) >= seen - tie).sum(axis=0)) / (resamples + 1)
    return p


def events_of(
    samples: pd.DataFrame, wrong: Floats, columns: dict[str, str], fewest: int
) -> tuple[list[tuple[str, str]], Floats]:
    """What may be associated with a cue: errors, and every subgroup that is large enough.

    Parameters
    ----------
    samples
        n rows.
    wrong
        ``[n]``, 1 where the answer is wrong.
    columns
        Attribute to its column in ``samples``.
    fewest
        Samples that a subgroup needs, inside and outside.

    Returns
    -------
    Attribute and subgroup of each event ("*" and "wrong" for errors), and ``[n, E]`` whether it
    holds.
    """
    names, found = [("*", "wrong")], [wrong]
    for attribute, column in columns.items():
        values = samples[column].astype(str).to_numpy(object)
        for value in sorted(set(values)):
            inside = values == value
            if min(inside.sum(), (~inside).sum()) >= fewest:
                names.append((attribute, value))
                found.append(inside.astype(np.float64))
    return names, np.stack(found, axis=1)
