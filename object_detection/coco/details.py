"""Details of a detector's evaluation beyond its metrics, as JSON values (no TF).

Detections match objects at an IoU of 0.5. A detection counts from the *operating score* on: the threshold at which
precision and recall of all categories together have the highest harmonic mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from object_detection.coco.error_details import error_details
from object_detection.coco.errors import find_errors
from object_detection.coco.metrics import Groundtruth, Matches, Results, Summary, iou, precision_curves
from object_detection.coco.pictures import Pictures
from object_detection.coco.tables import Comparison
from utils.reporting.evaluation_file import ERROR_PICTURES, ERRORS

_OVERLAP = 0.5
_DECIMALS = 6


def details(
    comparison: Comparison, summary: Summary, indices: Mapping[int, int], *, with_errors: bool = True
) -> dict[str, Any]:
    """Returns figures per category, precision-recall curves, confusions, errors, the worst pictures, and examples.

    Args:
        comparison: Groundtruth and detections.
        summary: Their metrics.
        indices: The place of each image in its split, by image id.
        with_errors: Analyse the errors, which takes some 2 µs for each detection.
    """
    threshold = operating_score(summary.matches)
    pictures = Pictures(comparison, summary.matches, indices)
    found: dict[str, Any] = {}
    if with_errors:
        errors = find_errors(summary.matches)
        found = {ERRORS: error_details(summary, errors, threshold), ERROR_PICTURES: pictures.of_errors(errors)}
    return {
        "task": "detection",
        "operating_score": threshold,
        "classes": _classes(comparison, summary, threshold),
        "curves": _curves(comparison, summary.matches),
        "confusion": _confusion(comparison, threshold),
        **found,
        **pictures.worst_and_examples(threshold),
    }


def operating_score(matches: Matches) -> float:
    """Returns the score threshold with the highest harmonic mean of precision and recall; 0 if nothing is right."""
    counted = matches.right | matches.wrong
    scores, right = matches.results.scores[counted], matches.right[counted]
    if not right.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    objects = np.count_nonzero(~matches.groundtruth.crowds)
    quality = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    last_of_score = np.append(scores[1:] < scores[:-1], True)
    return float(scores[np.where(last_of_score, quality, -1).argmax()])


def _classes(comparison: Comparison, summary: Summary, threshold: float) -> list[dict[str, Any]]:
    """Returns a row per category: its objects, its average precision, and the counts at the operating score."""
    matches = summary.matches
    sure = matches.results.scores >= threshold
    rows = []
    for category, name in comparison.categories.items():
        mine = matches.results.category_ids == category
        objects = int(np.sum((matches.groundtruth.category_ids == category) & ~matches.groundtruth.crowds))
        right = int(np.sum(matches.right & mine & sure))
        rows.append(
            {
                "id": category,
                "name": name,
                "objects": objects,
                "detections": int(np.sum(mine)),
                "average_precision": summary.by_category[category],
                "right": right,
                "wrong": int(np.sum(matches.wrong & mine & sure)),
                "missed": objects - right,
            }
        )
    return rows


def _curves(comparison: Comparison, matches: Matches) -> list[dict[str, Any]]:
    """Returns the precision at recall 0, 0.01, ... 1 for each category that has objects."""
    curves = []
    for category in comparison.categories:
        mine = matches.results.category_ids == category
        objects = int(np.count_nonzero((matches.groundtruth.category_ids == category) & ~matches.groundtruth.crowds))
        if objects:
            best_first = np.argsort(-matches.results.scores[mine], kind="stable")
            hits, misses = (flags[mine][best_first][np.newaxis] for flags in (matches.right, matches.wrong))
            curve = precision_curves(hits, misses, objects)[0]
            curves.append({"id": category, "precision": np.round(curve, _DECIMALS).tolist()})
    return curves


def _confusion(comparison: Comparison, threshold: float) -> list[list[int | None]]:
    """Counts confusions of categories: triples of an object's category id, its detection's category id and a count.

    Each detection of any category, the best first, takes the free object that it overlaps most, with an IoU of at least
    0.5. None stands for no object or no detection. Crowds and detections in them are left out.
    """
    known = list(comparison.categories)
    objects, results = comparison.groundtruth, comparison.results
    objects = objects.take(np.isin(objects.category_ids, known))
    results = results.take(np.isin(results.category_ids, known) & (results.scores >= threshold))
    rows_of = [_rows_by_image(table.image_ids) for table in (objects, results)]
    pairs: Counter[tuple[int | None, int | None]] = Counter()
    nothing = np.zeros(0, np.int64)
    for image in rows_of[0].keys() | rows_of[1].keys():
        there, found = (rows.get(image, nothing) for rows in rows_of)
        pairs.update(_pairs(objects.take(there), results.take(found)))
    ordered = sorted(pairs.items(), key=lambda entry: tuple((value is None, value or 0) for value in entry[0]))
    return [[of, found, count] for (of, found), count in ordered]


def _rows_by_image(image_ids: np.ndarray) -> dict[int, np.ndarray]:
    order = np.argsort(image_ids, kind="stable")
    ids, firsts = np.unique(image_ids[order], return_index=True)
    return dict(zip(ids.tolist(), np.split(order, firsts[1:]), strict=True)) if len(ids) else {}


def _pairs(objects: Groundtruth, results: Results) -> list[tuple[int | None, int | None]]:
    """Pairs the category of each object in one image with that of its detection."""
    overlaps = iou(results.boxes_px, objects.boxes_px, objects.crowds)
    free = ~objects.crowds
    pairs: list[tuple[int | None, int | None]] = []
    for row in np.argsort(-results.scores, kind="stable"):
        reachable = np.where(free, overlaps[row], 0.0)
        if reachable.size and reachable.max() >= _OVERLAP:
            taken = int(reachable.argmax())
            free[taken] = False
            pairs.append((int(objects.category_ids[taken]), int(results.category_ids[row])))
        elif not (overlaps[row][objects.crowds] >= _OVERLAP).any():
            pairs.append((None, int(results.category_ids[row])))
    return pairs + [(int(category), None) for category in objects.category_ids[free]]
