"""The ways in which annotation files write a box (no TF)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFormat:
    """A way to write a box in four numbers.

    Attributes:
        name: Its name on the command line.
        words: The four numbers, for people.
        corners: Turns the four numbers into left, top, right and bottom, in their unit.
        side: The number that stands for the whole width or height of the image; None if the unit is a pixel.
    """

    name: str
    words: str
    corners: Callable[..., Corners]
    side: float | None = None

    def corners_px(self, box: Corners, height_px: float, width_px: float) -> Corners:
        """Left, top, right and bottom of a box in pixels of an image."""
        left, top, right, bottom = self.corners(*box)
        if self.side is None:
            return left, top, right, bottom
        across, down = width_px / self.side, height_px / self.side
        return left * across, top * down, right * across, bottom * down


def _from_sides(x: float, y: float, width: float, height: float) -> Corners:
    return x, y, x + width, y + height


def _from_corners(left: float, top: float, right: float, bottom: float) -> Corners:
    return left, top, right, bottom


def _from_rows(top: float, left: float, bottom: float, right: float) -> Corners:
    return left, top, right, bottom


def _from_center(x: float, y: float, width: float, height: float) -> Corners:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


_SHAPES: Mapping[str, tuple[str, Callable[..., Corners]]] = {
    "xywh": ("x, y, width, height", _from_sides),
    "xyxy": ("left, top, right, bottom", _from_corners),
    "yxyx": ("top, left, bottom, right", _from_rows),
    "cxcywh": ("center x, center y, width, height", _from_center),
}
_UNITS: Mapping[str, tuple[str, float | None]] = {
    "": ("in pixels", None),
    "_fractions": ("as fractions of the image", 1.0),
    "_percent": ("in percent of the image", 100.0),
}
FORMATS = {
    one.name: one
    for suffix, (unit, side) in _UNITS.items()
    for shape, (words, corners) in _SHAPES.items()
    for one in (BoxFormat(name=shape + suffix, words=f"{words} {unit}", corners=corners, side=side),)
}
COCO = FORMATS["xywh"]
