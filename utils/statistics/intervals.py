"""Intervals of metrics: Wilson's for shares, and the bootstrap over images for everything else (no TF).

Source: Wilson, Probable inference, JASA 22 (1927); Efron, Bootstrap methods, Annals of Statistics 7 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 0
"""Fixed, so that two evaluations of the same images resample them alike whatever their runs' seeds."""
_MOST_WEIGHTS = 2**21  # of a chunk: 16 MB

Interval = list[float]
"""The lower and the upper end."""


def wilson(hits: float, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Computes Wilson's score interval of a share, ``hits`` of ``count``; a mean number of hits need not be whole.

    Raises:
        ValueError: Nothing was counted, or there are more hits than counts.
    """
    if not 0 <= hits <= count or count == 0:
        raise ValueError(f"{hits} hits of {count}: must be 0 to count, and count 1 or more")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / count, z * z / count
    center = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    # at the ends, the formula gives 0 and 1 but for rounding
    low = 0.0 if hits == 0 else center - half
    high = 1.0 if hits == count else center + half
    return [low, high]


def resamples(images: int, number: int = RESAMPLES, seed: int = SEED) -> Iterator[np.ndarray]:
    """Draws images with replacement, as many as there are, and counts how often each is drawn.

    Yields:
        ``[b, images]`` float64 counts, in chunks that add up to ``number`` rows.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _MOST_WEIGHTS // max(1, images))
    for first in range(0, number, rows):
        here = min(rows, number - first)
        drawn = rng.integers(0, images, size=(here, images))
        drawn += np.arange(here)[:, np.newaxis] * images
        yield np.bincount(drawn.ravel(), minlength=here * images).reshape(here, images).astype(np.float64)


def percentile_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> Interval | None:
    """Computes the percentile interval of a metric over resamples, ``[B]``; NaN where it is undefined in one.

    Returns:
        The interval; None if the metric is undefined in all of them.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    tail = 50 * (1 - confidence)
    low, high = np.percentile(known, [tail, 100 - tail])
    return [float(low), float(high)]


def group_sums(weights: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Sums the columns of weights ``[b, n]`` by group: ``[b, count]``, given the group of each column, ``[n]``."""
    rows = len(weights)
    places = np.arange(rows)[:, np.newaxis] * count + groups
    return np.bincount(places.ravel(), weights.ravel(), rows * count).reshape(rows, count)
