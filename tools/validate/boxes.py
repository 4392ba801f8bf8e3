"""Rules for the boxes of one image (no TF)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from object_detection.records.box_rules import ROUNDING_PX, Box, BoxCheck, check_box, shown_box

SIMILAR_IOU = 0.9


def check_boxes(
    boxes_px: Sequence[Box], categories: Sequence[int], height_px: float, width_px: float
) -> list[BoxCheck]:
    """Checks the boxes of an image.

    Args:
        boxes_px: ``[ymin, xmin, ymax, xmax]`` in pixels of the image that the boxes were drawn on.
        categories: The category of each box.
        height_px: Height of the image; 0 if unknown, which skips the checks against its edges.
        width_px: Width of the image; 0 if unknown.
    """
    checks: list[BoxCheck] = []
    for number, (box, category) in enumerate(zip(boxes_px, categories, strict=True)):
        check = check_box(box, height_px, width_px)
        if check.kind == "box_tiny":
            check = replace(check, left=None)  # the repaired copy drops it
        if check.left is not None:
            check = _compare_with_others(number, check, category, categories, checks)
        checks.append(check)
    return checks


def _compare_with_others(
    number: int, check: BoxCheck, category: int, categories: Sequence[int], before: Sequence[BoxCheck]
) -> BoxCheck:
    """The check of a box against the valid ones before it."""
    assert check.left is not None
    for other, earlier in enumerate(before):
        if earlier.left is None or categories[other] != category:
            continue
        if max(abs(a - b) for a, b in zip(earlier.left, check.left, strict=True)) < ROUNDING_PX:
            return BoxCheck(
                "box_duplicate", f"its box {shown_box(check.left)} in pixels is also that of object {other}"
            )
        overlap = _iou(earlier.left, check.left)
        if overlap >= SIMILAR_IOU and not check.kind:
            text = f"its box and that of object {other}, of the same class, overlap by {overlap:.2f} (IoU)"
            return BoxCheck("box_similar", text, check.left)
    return check


def _iou(left: Box, right: Box) -> float:
    height = min(left[2], right[2]) - max(left[0], right[0])
    width = min(left[3], right[3]) - max(left[1], right[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (left, right))
    return height * width / (sum(areas) - height * width)
