"""Average precision and recall of detections when images count several times, for the bootstrap over images (no TF).

The metrics are COCO's: precision is interpolated at 101 recall levels, and a mean leaves out categories without
objects. An image that is drawn twice counts twice. Shape symbols: I images, K categories, T IoU thresholds, D
detections, b resamples.

Source: https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

LEVELS = 100
"""Recall levels are the multiples of 1 / LEVELS, 0 and 1 included."""
_RECALL_LEVELS = np.linspace(0.0, 1.0, LEVELS + 1)
_MOST_SUMS = 2**22  # at once: 16 MB
_COST_OF_RIGHT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedDetections:
    """The verdicts on a data set's detections.

    Attributes:
        images: ``[D]`` row of each detection's image.
        categories: ``[D]`` row of each detection's category.
        scores: ``[D]``; detections of equal scores are in the order in which they count.
        right: ``[T, D]`` bool.
        wrong: ``[T, D]`` bool; some detections are neither.
        objects: ``[I, K]`` number of objects to find.
    """

    images: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray

    def cost(self) -> int:
        """Returns how many sums a resample takes: one for each detection, and some for each that is right."""
        return len(self.scores) + _COST_OF_RIGHT * int(np.count_nonzero(self.right))

    def _by_category(self) -> Iterator[np.ndarray]:
        """Yields the rows of each category's detections, the best first."""
        order = np.lexsort((-self.scores, self.categories))
        ends = np.searchsorted(self.categories[order], np.arange(self.objects.shape[1] + 1))
        return (order[first:last] for first, last in pairwise(ends))

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Computes average precision by category and threshold, ``[b, K, T]``; NaN for a category without objects.

        Args:
            weights: ``[b, I]``, how often each image counts.
        """
        objects = weights @ self.objects
        columns = np.ascontiguousarray(weights.T, np.float32)  # exact: counts stay far below 2^24
        found = np.zeros([len(weights), self.objects.shape[1], len(self.right)])
        for k, rows in enumerate(self._by_category()):
            judged = self.right[:, rows], self.wrong[:, rows]
            step = max(1, _MOST_SUMS // max(1, len(rows)))
            for part in (slice(first, first + step) for first in range(0, len(weights), step)):
                found[part, k] = _interpolated(self.images[rows], *judged, columns[:, part], objects[part, k])
        found[objects == 0] = np.nan
        return found

    def recall(self, weights: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Computes recall by category, the mean over the thresholds, ``[b, K]``; NaN for a category without objects.

        Args:
            weights: ``[b, I]``, how often each image counts.
            counted: ``[D]`` bool, the detections that may be right.
        """
        count, categories = self.objects.shape
        places = self.images * categories + self.categories
        hits = np.bincount(places, self.right.sum(axis=0) * counted, count * categories) / len(self.right)
        with np.errstate(invalid="ignore"):
            found: np.ndarray = (weights @ hits.reshape(count, categories)) / (weights @ self.objects)
        return found


def mean_over_categories(values: np.ndarray) -> np.ndarray:
    """Averages ``[b, K]`` over the categories that are not NaN, ``[b]``; NaN where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
    return mean


def _interpolated(
    images: np.ndarray, right: np.ndarray, wrong: np.ndarray, weights: np.ndarray, objects: np.ndarray
) -> np.ndarray:
    """Computes the average precision of a category, ``[b, T]``; 0 without objects.

    Precision is needed at right detections only, because it falls at all others. Nearly all detections count at every
    threshold, so that they are added up once, and those that do not count at one are subtracted.

    Args:
        images: ``[d]`` row of each detection's image, the best detection first.
        right: ``[T, d]`` bool.
        wrong: ``[T, d]`` bool.
        weights: ``[I, b]`` float32: sums run over rows, which are contiguous.
        objects: ``[b]`` number of objects.
    """
    found = np.zeros([weights.shape[1], len(right)])
    counts = (right | wrong).any(axis=0)
    if not right.any():
        return found
    counts[np.flatnonzero(right.any(axis=0))[-1] + 1 :] = False  # behind the last right detection
    kept = np.flatnonzero(counts)
    images, right, wrong = images[kept], right[:, kept], wrong[:, kept]
    so_far = np.cumsum(weights[images], axis=0)
    first_of: dict[bytes, int] = {}  # small categories have the same verdicts at several thresholds
    for t, hits in enumerate(map(np.flatnonzero, right)):
        same = first_of.setdefault(right[t].tobytes() + wrong[t].tobytes(), t)
        if same < t:
            found[:, t] = found[:, same]
        elif len(hits):
            total = so_far[hits] - _out(images, np.flatnonzero(~(right[t] | wrong[t])), hits, weights)
            found[:, t] = _from_hits(np.cumsum(weights[images[hits]], axis=0), total, objects)
    return found


def _out(images: np.ndarray, out: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> np.ndarray | float:
    """Counts the detections ``out`` before each of ``hits``, ``[hits, b]``; arguments as for ``_interpolated``."""
    before = np.searchsorted(hits, out)
    out, before = out[before < len(hits)], before[before < len(hits)]
    if not len(out):
        return 0.0
    among, rows = np.unique(images[out], return_inverse=True)
    between = np.bincount(before * len(among) + rows, minlength=len(hits) * len(among)).astype(np.float32)
    return np.cumsum(between.reshape(len(hits), len(among)) @ weights[among], axis=0)


def _from_hits(true: np.ndarray, total: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Computes average precision, ``[b]``, from the right and all detections up to each right one, ``[hits, b]``."""
    precision = true / np.maximum(total, 1)
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]  # the best at this recall or above
    recall = true.astype(np.float64) / np.maximum(objects, 1)
    nearest = np.rint(LEVELS * recall).astype(np.int32)
    levels = (nearest + (_RECALL_LEVELS[nearest] <= recall)) * (true > 0)  # compared as COCO does
    reached = np.diff(levels, axis=0, prepend=0)  # the levels that each right detection reaches first
    average: np.ndarray = (precision * reached).sum(axis=0) / (LEVELS + 1)
    return average
