"""Rules for a single box (no TF): the converter, the validator and the inspection share them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE_PX = 1.0
"""A box that exceeds the image by no more is due to rounding."""
ROUNDING_PX = 1e-3
LEAST_SIDE_PX = 1.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class BoxCheck:
    """The check of a box: kind and text of the fault, or empty; and its part inside the image, None without area."""

    kind: str = ""
    text: str = ""
    left: Box | None = None


def check_box(box: Box, height_px: float, width_px: float) -> BoxCheck:
    """Checks ``[ymin, xmin, ymax, xmax]`` in pixels; sides of 0 are unknown and skip the checks against the edges."""
    ymin, xmin, ymax, xmax = box
    if not all(map(math.isfinite, box)):
        return _fault("box_not_finite", box, "is not finite")
    if ymax < ymin or xmax < xmin:
        return _fault("box_inverted", box, "ends before it begins")
    if ymax == ymin or xmax == xmin:
        return _fault("box_empty", box, "has no area")
    if not height_px or not width_px:
        return BoxCheck(left=box)
    left = (max(ymin, 0.0), max(xmin, 0.0), min(ymax, height_px), min(xmax, width_px))
    if left[2] <= left[0] or left[3] <= left[1]:
        return _fault("box_outside", box, f"lies outside {_image(height_px, width_px)}")
    if min(left[2] - left[0], left[3] - left[1]) < LEAST_SIDE_PX - ROUNDING_PX:
        return _fault("box_tiny", box, f"is less than a pixel wide or high in {_image(height_px, width_px)}", left)
    out_px = max(-ymin, -xmin, ymax - height_px, xmax - width_px)
    if out_px > OUTSIDE_PX:
        return _fault("box_outside", box, f"reaches {out_px:.6g} pixels outside {_image(height_px, width_px)}", left)
    return BoxCheck(left=left)


def _image(height_px: float, width_px: float) -> str:
    return f"the image of {width_px:g}x{height_px:g}"


def _fault(kind: str, box: Box, text: str, left: Box | None = None) -> BoxCheck:
    return BoxCheck(kind, f"its box {shown_box(box)} in pixels {text}", left)


def shown_box(box: Sequence[float]) -> str:
    """A box as shown in messages."""
    return "[" + ", ".join(f"{value:.6g}" for value in box) + "]"
