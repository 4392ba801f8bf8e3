"""Rules for the boxes of one image (no TF)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIMILAR_IOU = 0.9
_OUTSIDE_PX = 1.0  # a box that exceeds the image by no more is due to rounding
_LEAST_SIDE_PX = 1.0
_ROUNDING_PX = 1e-3

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class BoxCheck:
    """The check of a box: kind and text of the finding, or empty, and the remaining box, or None."""

    kind: str = ""
    text: str = ""
    left: Box | None = None


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
        check = _check_box(box, height_px, width_px)
        if check.left is not None:
            check = _compare_with_others(number, check, category, categories, checks)
        checks.append(check)
    return checks


def _check_box(box: Box, height_px: float, width_px: float) -> BoxCheck:
    ymin, xmin, ymax, xmax = box
    shown = f"its box {shown_box(box)} in pixels"
    if not all(map(math.isfinite, box)):
        return BoxCheck("box_not_finite", f"{shown} is not finite")
    if ymax < ymin or xmax < xmin:
        return BoxCheck("box_inverted", f"{shown} ends before it begins")
    if ymax == ymin or xmax == xmin:
        return BoxCheck("box_empty", f"{shown} has no area")
    if not height_px or not width_px:
        return BoxCheck(left=box)
    left = (max(ymin, 0.0), max(xmin, 0.0), min(ymax, height_px), min(xmax, width_px))
    image = f"the image of {width_px:g}x{height_px:g}"
    if left[2] <= left[0] or left[3] <= left[1]:
        return BoxCheck("box_outside", f"{shown} lies outside {image}")
    if min(left[2] - left[0], left[3] - left[1]) < _LEAST_SIDE_PX - _ROUNDING_PX:
        return BoxCheck("box_tiny", f"{shown} is less than a pixel wide or high in {image}")
    out_px = max(-ymin, -xmin, ymax - height_px, xmax - width_px)
    if out_px > _OUTSIDE_PX:
        return BoxCheck("box_outside", f"{shown} reaches {out_px:.1f} pixels outside {image}", left)
    return BoxCheck(left=box)


def _compare_with_others(
    number: int, check: BoxCheck, category: int, categories: Sequence[int], before: Sequence[BoxCheck]
) -> BoxCheck:
    """The check of a box against the valid ones before it."""
    assert check.left is not None
    for other, earlier in enumerate(before):
        if earlier.left is None or categories[other] != category:
            continue
        if max(abs(a - b) for a, b in zip(earlier.left, check.left, strict=True)) < _ROUNDING_PX:
            return BoxCheck(
                "box_duplicate", f"its box {shown_box(check.left)} in pixels is also that of object {other}"
            )
        overlap = _iou(earlier.left, check.left)
        if overlap >= SIMILAR_IOU and not check.kind:
            text = f"its box and that of object {other}, of the same class, overlap by {overlap:.2f} (IoU)"
            return BoxCheck("box_similar", text, check.left)
    return check


def shown_box(box: Sequence[float]) -> str:
    """A box as shown in messages."""
    return "[" + ", ".join(f"{value:.6g}" for value in box) + "]"


def _iou(left: Box, right: Box) -> float:
    height = min(left[2], right[2]) - max(left[0], right[0])
    width = min(left[3], right[3]) - max(left[1], right[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (left, right))
    return height * width / (sum(areas) - height * width)
