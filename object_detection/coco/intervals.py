"""Bootstrap intervals of COCO's metrics over images (no TF)."""

from __future__ import annotations

from typing import Any

import numpy as np

from object_detection.coco.metrics import MAX_DETECTIONS, METRICS, SIZES, Summary
from object_detection.coco.tables import Comparison
from utils.reporting.per_image import packed_detections
from utils.statistics.detection_metrics import JudgedDetections, mean_over_categories
from utils.statistics.intervals import Interval, percentile_interval, resamples

QUICK = 150_000
"""``JudgedDetections.cost`` up to which evaluations during training have intervals; they take about a second then."""

Intervals = tuple[dict[str, Interval], dict[int, Interval]]
"""Those of metrics by name, and those of average precision by category id."""


def judged_detections(comparison: Comparison, summary: Summary, size: int = 0) -> JudgedDetections:
    """Returns the verdicts at one of ``SIZES``; images are in the order of their ids.

    Args:
        comparison: Groundtruth and detections.
        summary: Their metrics.
        size: The place of the size.
    """
    judged, matches = summary.judged, summary.matches
    image_ids, categories = np.unique(comparison.image_ids), judged.category_ids
    counted = matches.groundtruth.take(judged.objects[size])
    places = np.searchsorted(image_ids, counted.image_ids) * len(categories)
    places += np.searchsorted(categories, counted.category_ids)
    objects = np.bincount(places, minlength=len(image_ids) * len(categories))
    return JudgedDetections(
        images=np.searchsorted(image_ids, matches.results.image_ids),
        categories=np.searchsorted(categories, matches.results.category_ids),
        scores=matches.results.scores,
        right=judged.right[size],
        wrong=judged.wrong[size],
        objects=objects.reshape(len(image_ids), len(categories)),
    )


def intervals(comparison: Comparison, summary: Summary) -> Intervals:
    """Computes the intervals of the twelve metrics, and those of average precision by category id.

    A metric without objects has none.
    """
    tables = [judged_detections(comparison, summary, size) for size in range(len(SIZES))]
    values: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    by_category = []
    for weights in resamples(len(comparison.image_ids)):
        precision = [table.average_precision(weights) for table in tables]
        parts = [precision[0].mean(axis=2), precision[0][:, :, 0], precision[0][:, :, 5]]
        parts += [each.mean(axis=2) for each in precision[1:]]
        parts += [tables[0].recall(weights, summary.judged.places < most) for most in MAX_DETECTIONS]
        parts += [table.recall(weights, summary.judged.places < MAX_DETECTIONS[-1]) for table in tables[1:]]
        for name, part in zip(METRICS, parts, strict=True):
            values[name].append(mean_over_categories(part))
        by_category.append(parts[0])
    found = {name: percentile_interval(np.concatenate(parts)) for name, parts in values.items()}
    each = np.concatenate(by_category).T
    of_category = {
        int(category): percentile_interval(row) for category, row in zip(summary.judged.category_ids, each, strict=True)
    }
    return (
        {name: ends for name, ends in found.items() if ends is not None},
        {category: ends for category, ends in of_category.items() if ends is not None},
    )


def per_image(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    """Returns everything that average precision is computed from, as JSON; see ``utils.reporting.per_image``."""
    table = judged_detections(comparison, summary)
    return packed_detections(np.unique(comparison.image_ids), summary.judged.category_ids, table)
