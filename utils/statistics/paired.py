"""Tests between two networks on the same images, and the number of images that such a test needs (no TF).

Source: McNemar, Psychometrika 12 (1947), with Edwards's continuity correction; Holm, Scandinavian Journal of Statistics
6 (1979); Connor, Biometrics 43 (1987), for the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

ALPHA, POWER = 0.05, 0.8
EXACT_BELOW = 25
"""Number of discordant pairs from which McNemar's test uses the chi-square distribution."""
EXACT = "McNemar's test, exact binomial"
CHI_SQUARE = "McNemar's test, chi-square with continuity correction"


def mcnemar(first_only: int, second_only: int) -> tuple[float, str]:
    """Tests whether two networks are right equally often, given the numbers of images that only one gets right.

    Returns:
        The two-sided p-value, and the name of the test: ``EXACT`` below ``EXACT_BELOW`` such images, else
        ``CHI_SQUARE``.
    """
    discordant, difference = first_only + second_only, abs(first_only - second_only)
    if discordant < EXACT_BELOW:
        tail = sum(math.comb(discordant, k) for k in range(min(first_only, second_only) + 1))
        return min(1.0, 2 * tail / (1 << discordant)), EXACT
    chi_square = max(0, difference - 1) ** 2 / discordant  # the correction takes no more than there is
    return math.erfc(math.sqrt(chi_square / 2)), CHI_SQUARE


def bootstrap_p(differences: np.ndarray) -> float:
    """Computes a two-sided p-value from the differences of a metric in paired resamples, ``[B]``.

    It is twice the share of resamples on the rarer side of 0, with one more counted, so it is never 0.
    """
    known = differences[np.isfinite(differences)]
    if not known.size:
        return 1.0
    rarer = min(int(np.count_nonzero(known <= 0)), int(np.count_nonzero(known >= 0)))
    return min(1.0, 2 * (rarer + 1) / (int(known.size) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number by Holm's method, so that all of them together err with the chance alpha."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [1.0] * len(p_values), 0.0
    for place, which in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[which]))
        corrected[which] = largest
    return corrected


def images_to_tell(difference: float, spread: float) -> int | None:
    """Computes how many images show a difference with ``POWER`` at ``ALPHA``, two-sided; None without a difference.

    Args:
        difference: Mean difference of the metric.
        spread: Its standard error times the square root of the number of images.
    """
    if not difference:
        return None
    reach = _quantile(1 - ALPHA / 2) + _quantile(POWER)
    return math.ceil((reach * spread / difference) ** 2)


def images_to_tell_shares(first_only: int, second_only: int, images: int) -> int | None:
    """Computes how many images McNemar's test needs, given how many of ``images`` only one network gets right."""
    discordant, difference = (first_only + second_only) / images, (first_only - second_only) / images
    if not difference:
        return None
    reach = _quantile(1 - ALPHA / 2) * math.sqrt(discordant)
    reach += _quantile(POWER) * math.sqrt(discordant - difference**2)
    return math.ceil((reach / difference) ** 2)


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)
