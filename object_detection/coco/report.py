"""The report of COCO metrics: the usual twelve lines, and the likely cause if they are near zero (no TF)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from object_detection.coco.metrics import METRICS, SIZES, Groundtruth, Results, Summary, score_arrays
from object_detection.coco.tables import Comparison

_SUSPICIOUS = 0.01
"""Below this average precision, the report looks for the usual mistakes."""
_MUCH_BETTER = 0.25
"""A mistake is reported if undoing it raises the average precision at an IoU of 0.5 to at least this."""
_IMAGES_TRIED = 500
"""Number of images to look for mistakes in; more would find the same ones."""


def report(comparison: Comparison, summary: Summary) -> str:
    """Returns the lines of pycocotools, then a line per finding; ends in a line break."""
    return "\n".join([*lines(summary), *findings(comparison, summary)]) + "\n"


def lines(summary: Summary) -> list[str]:
    """Returns the twelve lines of pycocotools."""
    return [_line(name, summary.metrics[name]) for name in METRICS]


def _line(name: str, value: float) -> str:
    precise = name.startswith("Precision")
    kind = "Average Precision  (AP)" if precise else "Average Recall     (AR)"
    overlap = {"mAP@.50IOU": "0.50", "mAP@.75IOU": "0.75"}.get(name.partition("/")[2], "0.50:0.95")
    size = next((size for size in SIZES if f"({size})" in name), "all")
    most = {"Recall/AR@1": 1, "Recall/AR@10": 10}.get(name, 100)
    return f" {kind} @[ IoU={overlap:<9} | area={size:>6} | maxDets={most:>3} ] = {value:0.3f}"


def findings(comparison: Comparison, summary: Summary) -> list[str]:
    """Returns sentences on the cause of metrics that are -1 or near 0; none if all are fine."""
    return _overall(comparison, summary.metrics["Precision/mAP"]) or [*_by_size(summary)]


def _overall(comparison: Comparison, precision: float) -> list[str]:
    if precision < 0:
        return [_no_groundtruth(comparison)]
    if precision >= _SUSPICIOUS:
        return []
    cause = _no_comparison(comparison) or _mistake(comparison)
    if cause is None and precision == 0:
        cause = "no detection overlaps an object of its category with an IoU of at least 0.5"
    return [f"Average precision is {precision:.3f}: {cause}."] if cause else []


def _by_size(summary: Summary) -> Iterator[str]:
    for size in SIZES[1:]:
        value = summary.metrics[f"Precision/mAP ({size})"]
        if value < 0:
            yield f"Average precision of {size} objects is -1: the groundtruth has none."
        elif value == 0:
            yield f"Average precision of {size} objects is 0: no detection of their category reaches an IoU of 0.5."


def _no_groundtruth(comparison: Comparison) -> str:
    objects = comparison.groundtruth
    if not len(objects.crowds):
        cause = "the groundtruth has no object at all"
    elif not np.isin(objects.category_ids, list(comparison.categories)).any():
        cause = f"no object of the groundtruth is of one of the {len(comparison.categories)} categories"
    else:
        cause = "the groundtruth has nothing but crowds"
    return f"Average precision is -1: {cause}."


def _no_comparison(comparison: Comparison) -> str | None:
    """Returns the reason why no detection could match any object, if there is one."""
    groundtruth, results = comparison.groundtruth, comparison.results
    if not len(results.scores):
        return "there is no detection above the score threshold at all; a network whose outputs are NaN has none either"
    if not np.isin(results.category_ids, groundtruth.category_ids).any():
        return (
            f"detections and groundtruth share no category id (detections have {_some(results.category_ids)}, the "
            f"groundtruth has {_some(groundtruth.category_ids)})"
        )
    if not np.isin(results.image_ids, groundtruth.image_ids).any():
        return "no image that has detections has groundtruth"
    return None


def _some(ids: np.ndarray) -> str:
    """Lists the first few ids."""
    unique = np.unique(ids).tolist()
    return ", ".join(map(str, unique[:5])) + (", ..." if len(unique) > 5 else "")


def _mistake(comparison: Comparison) -> str | None:
    """Returns the usual mistake whose undoing makes detections match much better, if there is one."""
    tried = np.sort(comparison.image_ids)[:_IMAGES_TRIED]
    groundtruth = comparison.groundtruth.take(np.isin(comparison.groundtruth.image_ids, tried))
    results = comparison.results.take(np.isin(comparison.results.image_ids, tried))
    for cause, boxes in _undone(results.boxes_px, _sides(comparison, results)):
        changed = dataclasses.replace(results, boxes_px=boxes)
        if np.isfinite(boxes).all() and _at_half(groundtruth, changed, list(comparison.categories)) >= _MUCH_BETTER:
            return cause
    of_one_category = (
        dataclasses.replace(groundtruth, category_ids=np.ones_like(groundtruth.category_ids)),
        dataclasses.replace(results, category_ids=np.ones_like(results.category_ids)),
    )
    if _at_half(*of_one_category, [1]) >= _MUCH_BETTER:
        return "boxes match objects of other categories: check the category ids and the label map"
    return None


def _undone(boxes_px: np.ndarray, sides_px: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields mistakes and the boxes without them; NaN if that needs an unknown image size."""
    x, y, width, height = boxes_px.T
    swapped, scale = np.stack([y, x, height, width], axis=1), sides_px[:, [1, 0, 1, 0]]
    order = "boxes match when x and y are swapped: check the order of their coordinates"
    yield order, swapped
    yield order, swapped / sides_px[:, [0, 1, 0, 1]] * scale  # swapped before they were multiplied by the sides
    yield "boxes match when multiplied by the image's sides: they are relative, and must be in pixels", boxes_px * scale
    yield "boxes match when divided by the image's sides: they are in pixels, and must be relative", boxes_px / scale
    corners = np.stack([x, y, width - x, height - y], axis=1)
    yield "boxes match when read as [xmin, ymin, xmax, ymax]: they must be [x, y, width, height]", corners


def _at_half(groundtruth: Groundtruth, results: Results, category_ids: Sequence[int]) -> float:
    return score_arrays(groundtruth, results, category_ids).metrics["Precision/mAP@.50IOU"]


def _sides(comparison: Comparison, results: Results) -> np.ndarray:
    """Returns the height and width ``[D, 2]`` of each detection's image; NaN if unknown."""
    order = np.argsort(comparison.image_ids)
    rows = order[np.searchsorted(comparison.image_ids[order], results.image_ids)]
    sides = comparison.sizes_px[rows]
    return np.where(sides > 0, sides, np.nan)
