"""The error analysis of a detector's evaluation as JSON values (no TF)."""

from __future__ import annotations

from typing import Any

import numpy as np

from object_detection.coco.errors import (
    ALL_FALSE,
    ALL_MISSED,
    BACKGROUND,
    FALSE_KINDS,
    FIXES,
    FOREGROUND,
    MISSED,
    Errors,
    costs,
    not_found,
    precision_when_fixed,
)
from object_detection.coco.metrics import IOU_THRESHOLDS, SIZES, Matches, Summary, mean_of_known


def error_details(summary: Summary, errors: Errors, threshold: float) -> dict[str, Any]:
    """Returns the number and the cost of each kind of error, and average precision over IoU and object size.

    Args:
        summary: The metrics.
        errors: Their errors.
        threshold: The operating score.

    Returns:
        "kinds": a row for each of ``FIXES``: its "kind", its "count" among detections of any score and "sure" from the
        operating score on, its "cost" in average precision at IoU 0.5, None if no object is left to find.
        "by_iou": average precision at each of "ious", by size. "classes": by category, the counts and costs in the
        order of "kinds", average precision at each of "ious", and by size the mean over them; -1 without objects.
    """
    matches, category_ids = summary.matches, summary.judged.category_ids
    everything = np.ones(len(matches.wrong), bool)
    any_score = _counts(matches, errors, everything, category_ids)
    sure = _counts(matches, errors, matches.results.scores >= threshold, category_ids)
    before, fixed = summary.precision[0, :, 0], precision_when_fixed(matches, errors, category_ids)
    lost = costs(before, fixed)
    return {
        "foreground": FOREGROUND,
        "background": BACKGROUND,
        "average_precision": mean_of_known(before),
        "kinds": [
            {"kind": name, "count": int(any_score[f].sum()), "sure": int(sure[f].sum()), "cost": lost[name]}
            for f, name in enumerate(FIXES)
        ],
        "ious": np.round(IOU_THRESHOLDS, 2).tolist(),
        "by_iou": {size: [mean_of_known(row) for row in summary.precision[:, :, s]] for s, size in enumerate(SIZES)},
        "classes": [
            {
                "id": category,
                "counts": any_score[:, k].tolist(),
                "costs": [*costs(before[[k]], {name: fixed[name][[k]] for name in FIXES}).values()],
                "by_iou": summary.precision[:, k, 0].tolist(),
                "by_size": {size: mean_of_known(summary.precision[:, k, s]) for s, size in enumerate(SIZES)},
            }
            for k, category in enumerate(category_ids.tolist())
        ],
    }


def _counts(matches: Matches, errors: Errors, counted: np.ndarray, category_ids: np.ndarray) -> np.ndarray:
    """Counts the errors of each of ``FIXES`` in each category, ``[F, K]``.

    Wrong detections count in their own category, whatever the object's.

    Args:
        matches: The matches.
        errors: Their errors.
        counted: ``[D]`` bool, the detections that count.
        category_ids: ``[K]`` ascending.
    """
    of_detections, of_objects = matches.results.category_ids, matches.groundtruth.category_ids
    chosen = {name: of_detections[counted & (errors.kinds == kind)] for kind, name in enumerate(FALSE_KINDS)}
    chosen[MISSED] = of_objects[errors.missed(matches, counted)]
    chosen[ALL_FALSE] = of_detections[counted & matches.wrong]
    chosen[ALL_MISSED] = of_objects[not_found(matches, counted)]
    places = (np.searchsorted(category_ids, chosen[name]) for name in FIXES)
    return np.array([np.bincount(place, minlength=len(category_ids)) for place in places])
