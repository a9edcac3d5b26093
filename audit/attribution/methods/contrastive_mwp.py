"""Contrastive marginal winning probability."""

from __future__ import annotations

from torch import Tensor

from audit.attribution.methods.registry import register


@register("c-mwp")
def contrastive_mwp(excitation: Tensor) -> Tensor:
    """How much more likely a place wins for the class than against it (arXiv 1608.00507).

    Winning probabilities go from the score back to the layer: a unit passes what it has won to
    those below it in proportion to what they excite it by, ``a_i w_ji`` with ``w_ji > 0``. Those
    of the dual unit, that of the negated last weights, are subtracted (section 3.3); the paper's
    map is the positive part of the sum over channels (equation 6). See
    :mod:`audit.attribution.excitation`.

    Parameters
    ----------
    excitation
        Probabilities of the layer's units less those of the dual, ``[B, K, C, h, w]``.

    Returns
    -------
    ``[B, K, h, w]``, signed. Each of the two maps that it is the difference of adds up to at most
    1.
    """
    return excitation.sum(2)
