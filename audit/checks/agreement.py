"""Agreement of a map with what happens when places are hidden."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from audit.attribution import occlusion
from audit.checks.ranks import Floats, rank_correlation
from audit.geometry import coverage_to_grid

POSITIONS = 5  # places along each side that are hidden


def agreement(scores_of: Callable[[Tensor], Tensor], images: Tensor, maps: Tensor) -> Floats:
    """Rank correlation of maps with occlusion maps: faithfulness (arXiv 1610.02391, section 5.3).

    Parameters
    ----------
    scores_of
        From images to the score that was explained, ``[n, 1]``, without a graph.
    images
        ``[n, 3, H, W]``, normalised: the patch is 0, grey.
    maps
        ``[n, h, w]``, raw and signed; pooled to the grid of the occlusion map.

    Returns
    -------
    ``[n]`` float64; NaN where a map is the same everywhere.
    """
    positions = min(POSITIONS, *maps.shape[-2:])
    hidden = occlusion(scores_of, images, positions=positions)[:, 0]
    return rank_correlation(coverage_to_grid(maps, (positions, positions)), hidden)
