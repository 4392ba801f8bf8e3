"""The rate to take from the losses of a range test (no TF).

Shape symbol: S steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEEPEST = "the rate at which the smoothed loss falls fastest per decade, before its lowest point"
BELOW_RISE = "the loss never fell clearly, so this is a tenth of the rate at which it rose by a quarter"
DIVERGED = 4.0
"""The loss has diverged at this multiple of its lowest mean, if it is also above its first value."""
_RISEN, _MARGIN = 1.25, 10.0
_DECAY = 0.8
_FIRST_SHARE, _FEWEST_FIRST = 0.1, 5
_WIDTH_SHARE, _LEAST_WIDTH = 0.04, 2.0
_ERRORS = 4.0

Array = NDArray[np.float64]


class _Mean:
    """The exponential moving average of the values so far, without a bias to 0."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def after(self, value: float) -> float:
        """Takes a value; returns the mean."""
        self._sum = _DECAY * self._sum + (1 - _DECAY) * value
        self._weight = _DECAY * self._weight + (1 - _DECAY)
        return self._sum / self._weight


class Divergence:
    """Says when a loss has diverged, from its moving average."""

    def __init__(self) -> None:
        self._mean = _Mean()
        self._first: float | None = None
        self._lowest = np.inf

    def after(self, loss: float) -> bool:
        """Takes the loss of a step; returns whether the loss is not finite, or far above its lowest mean."""
        mean = self._mean.after(loss)
        self._first = mean if self._first is None else self._first
        self._lowest = min(self._lowest, mean)
        return not np.isfinite(mean) or mean > max(DIVERGED * self._lowest, self._first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding about the losses of a range test.

    Attributes:
        smoothed: ``[S]``, the smoothed losses, those before the rise and those after it apart.
        lowest: Index of the lowest one before the loss rises for good.
        suggestion: The suggested rate; None if the loss neither falls nor rises by more than its batches differ.
        rule: ``STEEPEST`` or ``BELOW_RISE``.
    """

    smoothed: Array
    lowest: int
    suggestion: float | None
    rule: str


def find_rate(rates: Sequence[float], losses: Sequence[float], planned: int) -> Finding:
    """Finds the rate at which the loss falls fastest, or one well below that at which it rises.

    A line is fitted to the neighbourhood of each step, with Gaussian weights whose width is 4 % of the planned steps.
    Unlike a moving average, such a fit does not lag behind, which would make the suggestion too high. Losses after the
    rise do not count, since they would hide a fall shortly before it.

    Args:
        rates: ``[S]``, with equal ratios.
        losses: ``[S]``, the loss that each rate led to; all are finite.
        planned: Number of steps of the whole range.
    """
    values = np.asarray(losses, np.float64)
    width = max(_LEAST_WIDTH, _WIDTH_SHARE * planned)
    rise = _rise(values)
    smoothed, slopes, errors = _fitted_lines(values[:rise], width)
    lowest = int(np.argmin(smoothed))
    steepest = int(np.argmin(slopes[: lowest + 1]))
    whole = smoothed if rise is None else np.concatenate([smoothed, _fitted_lines(values[rise:], width)[0]])
    if slopes[steepest] < -_ERRORS * errors[steepest]:
        return Finding(smoothed=whole, lowest=lowest, suggestion=rates[steepest], rule=STEEPEST)
    below = None if rise is None else rates[rise] / _MARGIN
    return Finding(smoothed=whole, lowest=lowest, suggestion=below, rule=BELOW_RISE)


def _rise(values: Array) -> int | None:
    """The index at which the mean has risen by a quarter, and by more than the noise of the first losses."""
    first = values[: max(_FEWEST_FIRST, int(_FIRST_SHARE * len(values)))]
    enough, mean = _RISEN * abs(first.mean()) + _ERRORS * first.std(ddof=1), _Mean()
    means = [mean.after(value) for value in values]
    return next((n for n, value in enumerate(means) if value > enough and n >= _FEWEST_FIRST), None)


def _fitted_lines(values: Array, width: float) -> tuple[Array, Array, Array]:
    """Fits a weighted line around each value; returns the values on it, its slopes and their standard errors."""
    places = np.arange(len(values), dtype=np.float64)
    weights = np.exp(-0.5 * ((places - places[:, np.newaxis]) / width) ** 2)  # [S, S], a row for each step
    weights /= weights.sum(axis=1, keepdims=True)
    centers, means = weights @ places, weights @ values
    away = places - centers[:, np.newaxis]
    spread = np.maximum((weights * away**2).sum(axis=1), np.finfo(np.float64).tiny)  # 0 for a single value
    slopes = (weights * away * values).sum(axis=1) / spread
    rest = values - means[:, np.newaxis] - slopes[:, np.newaxis] * away
    noise = np.sqrt((weights * rest**2).sum(axis=1))  # nearby, since it grows with the rate
    errors = noise * np.sqrt(((weights * away) ** 2).sum(axis=1)) / spread
    return means + slopes * (places - centers), slopes, errors
