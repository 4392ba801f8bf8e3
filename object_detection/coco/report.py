"""The report of COCO metrics: the usual twelve lines, and the likely cause if they are near zero (no TF)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from object_detection.coco.metrics import METRICS, SIZES, Groundtruth, Results, Summary, score_arrays
from object_detection.coco.tables import Comparison

_SUSPICIOUS = 0.01
"""Below this average precision, the report looks for the usual mistakes."""
_MUCH_BETTER = 0.25
"""A mistake is reported if undoing it raises the average precision at an IoU of 0.5 to at least this."""
_IMAGES_TRIED = 200
"""Number of images to look for mistakes in; more would find the same ones."""
_ORDERS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "[y, x, height, width]": lambda box: box[:, [1, 0, 3, 2]],
    "[xmin, ymin, xmax, ymax]": lambda box: np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1),
    "[ymin, xmin, ymax, xmax]": lambda box: np.concatenate([box[:, 1::-1], (box[:, 2:] - box[:, :2])[:, ::-1]], axis=1),
    "[xcenter, ycenter, width, height]": lambda box: np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, 2:]], axis=1),
}
"""Other orders of a box's numbers, with the functions that turn them into ``[x, y, width, height]``."""


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
    """Returns sentences on the cause of metrics that are -1 or near 0, and on detections that do not count."""
    found = _overall(comparison, summary.metrics["Precision/mAP"])
    return [*(found or _by_size(summary)), *_of_no_category(comparison)]


def _overall(comparison: Comparison, precision: float) -> list[str]:
    if precision < 0:
        return [_no_groundtruth(comparison)]
    if precision >= _SUSPICIOUS:
        return []
    causes = [cause for cause in (_no_comparison(comparison), _mistake(comparison)) if cause]
    if not causes and precision == 0:
        causes = ["no detection overlaps an object of its category with an IoU of at least 0.5"]
    return [f"Average precision is {precision:.3f}: {'; '.join(causes)}."] if causes else []


def _of_no_category(comparison: Comparison) -> Iterator[str]:
    ids = comparison.results.category_ids
    strange = ids[~np.isin(ids, list(comparison.categories))]
    if 0 < len(strange) < len(ids):
        yield (
            f"{len(strange):,} of {len(ids):,} detections do not count: they are of categories that the groundtruth "
            f"does not list ({_some(strange)})."
        )


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
    """Returns the usual mistake whose undoing makes detections match best, if they match much better then."""
    tried = np.sort(comparison.image_ids)[:_IMAGES_TRIED]
    groundtruth = comparison.groundtruth.take(np.isin(comparison.groundtruth.image_ids, tried))
    results = comparison.results.take(np.isin(comparison.results.image_ids, tried))
    categories = list(comparison.categories)
    best, found = _MUCH_BETTER, None
    for cause, changed in _undone(results, _sides(comparison, results), sorted(categories)):
        precision = _at_half(groundtruth, changed, categories) if np.isfinite(changed.boxes_px).all() else 0.0
        if precision >= best and (found is None or precision > best):
            best, found = precision, cause
    of_one_category = (
        dataclasses.replace(groundtruth, category_ids=np.ones_like(groundtruth.category_ids)),
        dataclasses.replace(results, category_ids=np.ones_like(results.category_ids)),
    )
    if found is None and _at_half(*of_one_category, [1]) >= _MUCH_BETTER:
        return "boxes match objects of other categories: check the category ids and the label map"
    return found


def _undone(results: Results, sides_px: np.ndarray, categories: Sequence[int]) -> Iterator[tuple[str, Results]]:
    """Yields mistakes, and the results without them; boxes are NaN if that needs an unknown image size."""
    for cause, boxes in _boxes_undone(results.boxes_px, sides_px):
        yield cause, dataclasses.replace(results, boxes_px=boxes)
    for shift, change in ((1, "added to"), (-1, "subtracted from")):
        cause = f"boxes match when 1 is {change} each category id: check where the ids begin"
        yield cause, dataclasses.replace(results, category_ids=results.category_ids + shift)
    for first in (0, 1):
        places = np.clip(results.category_ids - first, 0, len(categories) - 1)
        cause = f"boxes match when category ids are read as places among the groundtruth's, counted from {first}"
        yield cause, dataclasses.replace(results, category_ids=np.array(categories, np.int64)[places])


def _boxes_undone(boxes_px: np.ndarray, sides_px: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    scale = sides_px[:, [1, 0, 1, 0]]
    yield "boxes match when multiplied by the image's sides: they are relative, and must be in pixels", boxes_px * scale
    yield "boxes match when divided by the image's sides: they are in pixels, and must be relative", boxes_px / scale
    for order, read in _ORDERS.items():
        yield f"boxes match when read as {order}: they must be [x, y, width, height]", read(boxes_px)
        relative = f"boxes match when read as {order} and multiplied by the image's sides: they must be in pixels"
        yield relative, read(boxes_px) * scale
    swapped = "boxes match when x and y are swapped before they are multiplied by the sides: check the order"
    yield swapped, boxes_px[:, [1, 0, 3, 2]] / sides_px[:, [0, 1, 0, 1]] * scale


def _at_half(groundtruth: Groundtruth, results: Results, category_ids: Sequence[int]) -> float:
    return score_arrays(groundtruth, results, category_ids).metrics["Precision/mAP@.50IOU"]


def _sides(comparison: Comparison, results: Results) -> np.ndarray:
    """Returns the height and width ``[D, 2]`` of each detection's image; NaN if unknown."""
    order = np.argsort(comparison.image_ids)
    rows = order[np.searchsorted(comparison.image_ids[order], results.image_ids)]
    sides = comparison.sizes_px[rows]
    return np.where(sides > 0, sides, np.nan)
