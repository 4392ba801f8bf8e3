"""Average precision and recall of boxes as COCO defines them, over arrays (no TF).

The numbers equal those of pycocotools to the last digits and are computed several times faster: pairs that overlap too
little for every threshold are left out before matching, and all thresholds and size ranges are matched together.

Boxes here are ``[x, y, width, height]`` in pixels of the original image, float64. Symbols: G groundtruth objects,
D detections, K categories, T IoU thresholds, S size ranges, R recall levels.

Source: https://cocodataset.org/#detection-eval; Lin et al., Microsoft COCO, arXiv:1405.0312.
Differs from pycocotools: a groundtruth object whose id is 0 can be matched like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)
"""Limits on an image's detections per category; precision is computed at the last one."""
SIZES = ("all", "small", "medium", "large")
AREA_RANGES_PX = np.array([(0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2)], np.float64)
"""Smallest and largest area of each size; an object with exactly the area of a limit belongs to both sides."""
METRICS = (
    "Precision/mAP",
    "Precision/mAP@.50IOU",
    "Precision/mAP@.75IOU",
    "Precision/mAP (small)",
    "Precision/mAP (medium)",
    "Precision/mAP (large)",
    "Recall/AR@1",
    "Recall/AR@10",
    "Recall/AR@100",
    "Recall/AR@100 (small)",
    "Recall/AR@100 (medium)",
    "Recall/AR@100 (large)",
)
"""Names of the twelve metrics, in the order of pycocotools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groundtruth:
    """The annotated objects of a data set.

    Attributes:
        image_ids: ``[G]`` int64.
        category_ids: ``[G]`` int64.
        boxes_px: ``[G, 4]`` float64.
        areas_px: ``[G]`` float64, area of the outline if it is known; it determines the size.
        crowds: ``[G]`` bool: a region with many objects, in which detections are neither right nor wrong.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes_px: np.ndarray
    areas_px: np.ndarray
    crowds: np.ndarray

    def take(self, rows: np.ndarray) -> Groundtruth:
        """Returns the objects of these rows."""
        return Groundtruth(**{name: getattr(self, name)[rows] for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The detections of a data set.

    Attributes:
        image_ids: ``[D]`` int64.
        category_ids: ``[D]`` int64.
        boxes_px: ``[D, 4]`` float64.
        scores: ``[D]`` float64.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes_px: np.ndarray
    scores: np.ndarray

    def take(self, rows: np.ndarray) -> Results:
        """Returns the detections of these rows."""
        return Results(**{name: getattr(self, name)[rows] for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The metrics of a data set, in [0, 1]; -1 if there is no groundtruth for one.

    Attributes:
        metrics: The twelve metrics by the names in ``METRICS``.
        by_category: Average precision over all thresholds, by category id.
        matches: The matches of detections and objects.
        precision: ``[T, K, S]`` average precision; -1 without groundtruth.
        judged: The verdicts that the metrics are computed from.
    """

    metrics: dict[str, float]
    by_category: dict[int, float]
    precision: np.ndarray = field(repr=False, compare=False)
    matches: Matches = field(repr=False, compare=False)
    judged: Judged = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """The matches of detections and objects of any size at an IoU of 0.5.

    Attributes:
        groundtruth: The objects of the scored categories, sorted by category and image.
        results: The detections that count, sorted by category and image, the best of each first.
        right: ``[D]`` bool, true for right detections.
        wrong: ``[D]`` bool, true for wrong detections; those in crowds are neither.
        objects: ``[D]`` int64, the row of the object that a detection matched; -1 for none.
    """

    groundtruth: Groundtruth
    results: Results
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Verdicts on ``Matches.results`` at each size range and IoU threshold.

    Attributes:
        category_ids: ``[K]`` scored categories, ascending.
        right: ``[S, T, D]`` bool.
        wrong: ``[S, T, D]`` bool; some detections are neither.
        places: ``[D]`` rank of each detection within its image and category.
        objects: ``[S, G]`` bool, true for the objects of ``Matches.groundtruth`` that count.
    """

    category_ids: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    places: np.ndarray
    objects: np.ndarray


def score_arrays(groundtruth: Groundtruth, results: Results, category_ids: Sequence[int]) -> Summary:
    """Scores the detections of some categories; objects and detections of others are left out.

    Args:
        groundtruth: The objects. If a detection overlaps two equally, it matches the later one.
        results: The detections, finite numbers. Equal scores are ordered by image id, then by position.
        category_ids: The scored categories, all different.
    """
    categories = np.array(sorted(category_ids), np.int64)
    groundtruth = groundtruth.take(np.isin(groundtruth.category_ids, categories))
    groundtruth = groundtruth.take(np.lexsort((groundtruth.image_ids, groundtruth.category_ids)))
    results = results.take(np.isin(results.category_ids, categories))
    results = results.take(np.lexsort((-results.scores, results.image_ids, results.category_ids)))
    places = _places(results)
    counts = places < MAX_DETECTIONS[-1]
    results, places = results.take(counts), places[counts]
    right, wrong, given = _judge(groundtruth, results)
    objects = ~(_outside(groundtruth.areas_px) | groundtruth.crowds)
    precision = np.full([len(IOU_THRESHOLDS), len(categories), len(SIZES)], -1.0)
    recall = np.full([len(IOU_THRESHOLDS), len(categories), len(SIZES), len(MAX_DETECTIONS)], -1.0)
    for k, category in enumerate(categories):
        rows = slice(*np.searchsorted(results.category_ids, [category, category + 1]))
        mine = slice(*np.searchsorted(groundtruth.category_ids, [category, category + 1]))
        best_first = np.argsort(-results.scores[rows], kind="stable")
        for size, number in enumerate(objects[:, mine].sum(axis=1)):
            if number:
                hits, misses = right[size, :, rows][:, best_first], wrong[size, :, rows][:, best_first]
                precision[:, k, size] = average_precision(hits, misses, number)
                early = places[rows][best_first] < np.array(MAX_DETECTIONS)[:, np.newaxis]
                recall[:, k, size] = (hits[:, np.newaxis] & early).sum(axis=2) / number
    by_category = {int(c): mean_of_known(precision[:, k, 0]) for k, c in enumerate(categories)}
    return Summary(
        metrics=_twelve(precision, recall),
        by_category=by_category,
        precision=precision,
        matches=Matches(groundtruth=groundtruth, results=results, right=right[0, 0], wrong=wrong[0, 0], objects=given),
        judged=Judged(category_ids=categories, right=right, wrong=wrong, places=places, objects=objects),
    )


def average_precision(hits: np.ndarray, misses: np.ndarray, objects: int) -> np.ndarray:
    """Returns the average precision at each threshold, ``[T]``; arguments as for ``precision_curves``."""
    found: np.ndarray = precision_curves(hits, misses, objects).mean(axis=1)
    return found


def precision_curves(hits: np.ndarray, misses: np.ndarray, objects: int) -> np.ndarray:
    """Returns the highest precision at each recall level or above, ``[T, R]``.

    Args:
        hits: ``[T, d]`` bool, true for right detections of a category, best first.
        misses: ``[T, d]`` bool, true for wrong ones; those that are neither do not count.
        objects: Number of objects to find.
    """
    right, wrong = np.cumsum(hits, axis=1, dtype=np.float64), np.cumsum(misses, axis=1, dtype=np.float64)
    recall, precision = right / objects, right / (wrong + right + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # the best at this recall or above
    precision = np.pad(precision, [(0, 0), (0, 1)])  # a recall that is never reached
    rows = [values[np.searchsorted(r, RECALL_LEVELS)] for r, values in zip(recall, precision, strict=True)]
    return np.array(rows)


def _twelve(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """Computes ``METRICS`` from average precision ``[T, K, S]`` and recall ``[T, K, S, M]``."""
    parts = [
        precision[:, :, 0],
        precision[0, :, 0],
        precision[5, :, 0],
        *(precision[:, :, size] for size in (1, 2, 3)),
        *(recall[:, :, 0, most] for most in range(len(MAX_DETECTIONS))),
        *(recall[:, :, size, -1] for size in (1, 2, 3)),
    ]
    return {name: mean_of_known(part) for name, part in zip(METRICS, parts, strict=True)}


def mean_of_known(values: np.ndarray) -> float:
    """Averages the values that could be measured."""
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def _places(results: Results) -> np.ndarray:
    """Returns the rank of each detection within its image and category, whose rows are adjacent, best first."""
    rows = np.arange(len(results.scores))
    new = np.ones(len(rows), bool)
    new[1:] = np.diff(results.category_ids).astype(bool) | np.diff(results.image_ids).astype(bool)
    return rows - np.maximum.accumulate(np.where(new, rows, 0))


def _outside(areas_px: np.ndarray) -> np.ndarray:
    """Returns a mask of the areas outside of each size range, ``[S, n]``."""
    return (areas_px < AREA_RANGES_PX[:, :1]) | (areas_px > AREA_RANGES_PX[:, 1:])


def _judge(groundtruth: Groundtruth, results: Results) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns masks of right and wrong detections, ``[S, T, D]`` each (some are neither), and ``Matches.objects``."""
    right = np.zeros([len(SIZES), len(IOU_THRESHOLDS), len(results.scores)], bool)
    wrong = np.repeat(~_outside(results.boxes_px[:, 2] * results.boxes_px[:, 3])[:, np.newaxis], right.shape[1], axis=1)
    given = np.full(len(results.scores), -1, np.int64)
    not_counted = _outside(groundtruth.areas_px) | groundtruth.crowds
    for rows, objects in _shared_groups(groundtruth, results):
        crowds = groundtruth.crowds[objects]
        overlaps = iou(results.boxes_px[rows], groundtruth.boxes_px[objects], crowds)
        near = np.flatnonzero(overlaps.max(axis=1) >= IOU_THRESHOLDS[0])
        if near.size:
            hits, matched, first = _match(overlaps[near], not_counted[:, objects], crowds)
            right[:, :, rows.start + near] = hits
            wrong[:, :, rows.start + near] &= ~matched
            given[rows.start + near] = np.where(first < 0, -1, objects.start + first)
    return right, wrong, given


def _shared_groups(groundtruth: Groundtruth, results: Results) -> Iterator[tuple[slice, slice]]:
    """Yields the rows of detections and of objects for each image and category with both; tables are sorted by them."""
    spans = []
    for table in (results, groundtruth):
        keys = np.stack([table.category_ids, table.image_ids], axis=1)
        firsts = np.flatnonzero(np.any(np.diff(keys, axis=0, prepend=keys[:1] - 1), axis=1))
        ends = np.append(firsts, len(keys))[1:]
        spans.append(
            {tuple(keys[f].tolist()): slice(f, e) for f, e in zip(firsts.tolist(), ends.tolist(), strict=True)}
        )
    detections, objects = spans
    return ((rows, objects[key]) for key, rows in detections.items() if key in objects)


def iou(boxes_px: np.ndarray, objects_px: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """Returns the IoU ``[d, g]`` of boxes ``[x, y, width, height]``; for a crowd, intersection over the box's area."""
    x, y, width, height = boxes_px.T[:, :, np.newaxis]
    object_x, object_y, object_width, object_height = objects_px.T[:, np.newaxis]
    shared_width = np.minimum(x + width, object_x + object_width) - np.maximum(x, object_x)
    shared_height = np.minimum(y + height, object_y + object_height) - np.maximum(y, object_y)
    shared = np.maximum(shared_width, 0) * np.maximum(shared_height, 0)
    area = width * height
    union = np.where(crowds, area, area + object_width * object_height - shared)
    shares: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return shares


def _match(
    overlaps: np.ndarray, not_counted: np.ndarray, crowds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches each detection of a category in an image with the object that it overlaps most, best detection first.

    Objects that count go before those that do not. A crowd may match any number of detections.

    Args:
        overlaps: ``[d, g]`` intersection over union.
        not_counted: ``[S, g]`` bool, true for objects that do not count at a size.
        crowds: ``[g]`` bool.

    Returns:
        ``[S, T, d]`` bool, true for detections matched with an object that counts; the same for any object; and
        ``[d]``, the matched object at the first size and threshold, -1 for none.
    """
    detections, objects = overlaps.shape
    order = np.argsort(overlaps, axis=1, kind="stable")
    rank = np.argsort(order, axis=1)  # among equal overlaps, the later object ranks higher
    counted_first = np.where(not_counted, 0, objects)
    reached = overlaps[:, np.newaxis] >= IOU_THRESHOLDS[:, np.newaxis]
    preference = np.where(reached[:, np.newaxis], (rank[:, np.newaxis] + counted_first)[:, :, np.newaxis], -1)
    preference = preference.astype(np.int32).reshape(detections, -1, objects)
    best = np.empty(preference.shape[:2], np.int32)
    first = np.empty(detections, np.int64)
    rows = np.arange(best.shape[1])
    for d, wanted in enumerate(preference):
        chosen = wanted.argmax(axis=1)
        best[d] = wanted[rows, chosen]
        first[d] = chosen[0] if best[d, 0] >= 0 else -1
        taken = (best[d] >= 0) & ~crowds[chosen]
        preference[d + 1 :, rows[taken], chosen[taken]] = -1
    best = best.T.reshape(len(not_counted), len(IOU_THRESHOLDS), detections)
    return best >= objects, best >= 0, first
