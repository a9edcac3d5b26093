"""What a class attends to, in groups: found on one half of the clusters, met again on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from audit.discovery.features import Features, Singles
from audit.evidence.intervals import Codes, Floats
from audit.evidence.signflip import generator

COMPONENTS = 8  # of the standardised features
SMALLEST = 5  # samples in a group, and in a class that is looked at
SEPARATE = 0.1  # mean silhouette below which a class has one group: 0 is no structure, 1 perfect

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Group:
    """Samples of one predicted class that attend to much the same.

    Parameters
    ----------
    target
        Class id.
    number
        Which group of the class.
    found_on
        Number of samples that it was found on.
    members
        ``[m]``, places in the features of samples that are nearest to its centre, the nearest
        first. They are of the other half of the clusters.
    """

    target: int
    number: int
    found_on: int
    members: Indices


@dataclass(frozen=True)
class Space:
    """The groups of one class as centres among principal components.

    Parameters
    ----------
    components
        From attended features ``[n, C]`` to ``[n, d]``.
    centres
        ``[g, d]``.
    sizes
        ``[g]``, samples found in each.
    """

    components: Pipeline
    centres: Floats
    sizes: Indices

    def distances(self, attended: Singles) -> Floats:
        """Distance of each sample from each centre, ``[n, g]``."""
        at = self.components.transform(attended.astype(np.float64))
        found: Floats = np.linalg.norm(at[:, None] - self.centres[None], axis=2)
        return found


def finding_half(cluster: Codes, seed: int) -> npt.NDArray[np.bool_]:
    """Which samples are for finding: those of a random half of the clusters, ``[n]``."""
    codes = np.unique(cluster)
    drawn = generator(seed, "discovery", "halves").permutation(codes)[: (len(codes) + 1) // 2]
    half: npt.NDArray[np.bool_] = np.isin(cluster, drawn)
    return half


def find_space(attended: Singles, most: int) -> Space | None:
    """Groups of attended features: standardised, principal components, Ward's clustering.

    Ward's clustering has no random start, so the groups do not depend on a seed. Of 2 to ``most``
    groups the number with the largest mean silhouette is taken, where each has at least
    :data:`SMALLEST` samples; if no number separates them (:data:`SEPARATE`), there is one group.

    Parameters
    ----------
    attended
        ``[n, C]``.
    most
        Groups at most.

    Returns
    -------
    The groups, or None where there are fewer than :data:`SMALLEST` samples.
    """
    n, c = attended.shape
    if n < SMALLEST:
        return None
    reduce = PCA(min(COMPONENTS, n - 1, c), svd_solver="full")
    components = make_pipeline(StandardScaler(), reduce)
    with np.errstate(invalid="ignore"):  # of features that are all the same nothing is explained
        at = components.fit_transform(attended.astype(np.float64))
    best, groups = SEPARATE, np.zeros(n, dtype=np.intp)
    for k in range(2, min(most, n // SMALLEST) + 1):
        found = AgglomerativeClustering(k).fit_predict(at)
        if np.bincount(found).min() >= SMALLEST and (score := silhouette_score(at, found)) > best:
            best, groups = score, found
    sizes = np.bincount(groups)
    centres = np.stack([at[groups == g].mean(0) for g in np.argsort(-sizes, kind="stable")])
    return Space(components, centres, np.sort(sizes)[::-1])


def space_of(features: Features, target: int, most: int, seed: int) -> Space | None:
    """The groups of one class, found on the half of the clusters that is for finding."""
    finding = finding_half(features.cluster, seed) & features.live
    return find_space(features.attended[finding & (features.predicted == target)], most)


def meet_again(features: Features, spaces: list[Space | None], seed: int) -> list[Group]:
    """The groups of all classes, with their members in the half that is for testing."""
    testing = ~finding_half(features.cluster, seed) & features.live
    groups = []
    for target, space in enumerate(spaces):
        if space is None:
            continue
        here = np.flatnonzero(testing & (features.predicted == target))
        for number, members in enumerate(nearest(space, features.attended[here])):
            groups.append(Group(target, number, int(space.sizes[number]), here[members]))
    return groups


def nearest(space: Space, attended: Singles) -> list[Indices]:
    """For each group the samples nearest to its centre, the nearest first."""
    if len(attended) == 0:
        return [np.zeros(0, dtype=np.intp) for _ in space.centres]
    distances = space.distances(attended)
    own = distances.argmin(1)
    return [
        members[np.argsort(distances[members, g], kind="stable")]
        for g in range(len(space.centres))
        for members in [np.flatnonzero(own == g)]
    ]
