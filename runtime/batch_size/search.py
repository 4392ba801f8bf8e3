"""The largest batch that fits in memory, found by trials of a few sizes (no TF)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LARGEST = 1024
"""The largest batch to try: trials then take minutes at most."""
MULTIPLE = 8
"""Batches of this many images or more are multiples of it; smaller ones are powers of two."""
_BOLDEST = 4
"""The most by which a trial multiplies the largest batch that fits."""
_WORTH = 16
"""Another trial must promise more than this part of the largest batch that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoBatch:
    """The outcome of ``--batch_size auto``.

    Attributes:
        batch: Images per step and process.
        told: A phrase that says why so many.
    """

    batch: int
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A batch that was tried and fits.

    Attributes:
        batch: Number of images.
        need: Bytes that it needs, 0 if unknown.
    """

    batch: int
    need: float = 0.0


def largest_fit(attempt: Callable[[int], float | None], most: int, room: float) -> Fit | None:
    """Finds the largest batch that fits, to within a sixteenth; returns None if not even one image fits.

    Needs are taken to grow with the batch. Two trials of small batches tell about how fast, and further ones correct
    the forecast. Where no need is known, batches grow until one does not fit.

    Args:
        attempt: Tries a batch; returns the bytes that it needs, 0 if it fits without telling, or None if it does not.
        most: The largest batch that makes sense; allowed even if it is no multiple.
        room: Bytes that a batch may need.
    """
    fits: list[Fit] = []
    too_large, batch = most + 1, allowed(MULTIPLE, most)
    while batch:
        need = attempt(batch)
        if need is None:
            too_large = batch
        else:
            fits.append(Fit(batch=batch, need=need))
        batch = _next(fits, too_large, most, room)
    return fits[-1] if fits else None


def allowed(count: float, most: int) -> int:
    """The largest batch to consider of at most ``count`` images; 0 if there is none."""
    if count >= most:
        return most
    whole = int(count)
    if whole >= MULTIPLE:
        return whole - whole % MULTIPLE
    return 2 ** (whole.bit_length() - 1) if whole else 0


def _next(fits: Sequence[Fit], too_large: int, most: int, room: float) -> int:
    """The batch to try next, or 0 if the search is over; ``too_large`` is the smallest one known not to fit."""
    if not fits:
        return allowed(too_large // 2, most)
    largest = fits[-1].batch
    guess = _forecast(fits, room)
    if guess >= too_large and too_large <= most:  # the forecast was wrong, or there is none
        guess = (largest + too_large) / 2
    guess = allowed(min(guess, min(_BOLDEST, 2 ** len(fits)) * largest, too_large - 1), most)
    return guess if guess - largest > largest // _WORTH else 0


def _forecast(fits: Sequence[Fit], room: float) -> float:
    """The batch whose need would be ``room``, on a line through the last two; infinite without a slope."""
    if len(fits) < 2:
        return math.inf
    before, last = fits[-2:]
    each = (last.need - before.need) / (last.batch - before.batch)
    return last.batch + (room - last.need) / each if each > 0 else math.inf
