"""The evidence for the format in which an annotation file writes its boxes (no TF)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from object_detection.coco.box_formats import COCO, FORMATS, BoxFormat

Array = NDArray[np.float64]

_ROUNDING = 0.01
"""Share of an image's side by which sound boxes may leave it; in pixels, they may by one pixel in any case."""
_LEAST_PX = 0.999
_MOST_EXPLAINED = 0.1
"""Another format is recognized if it has at most this many times the misfits of COCO's own."""
_FEWEST_MISFITS, _SHARE_OF_MISFITS = 5, 0.05
"""Misfits of COCO's own format from which another one in pixels may be recognized: sound files have a few faults."""
_SHARE_OF_SPECKS = 0.5
"""As above, for fractions, which as pixels lie in the first pixel of the image."""
_PERCENTAGES = tuple(one for one in FORMATS.values() if one.side == 100)
_OTHERS = tuple(one for one in FORMATS.values() if one not in _PERCENTAGES)
_FEWEST_IN_CORNER, _LARGE_PX = 20, 200
"""Boxes from which percentages may be recognized, and the shorter side of the images whose boxes count."""
_CORNER_PX, _FILLED_PX = 101, 90
"""No number of percentages exceeds the first; in both directions, some boxes end beyond the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The boxes of a file that fit no image, for each way to read them.

    Attributes:
        boxes: Number of boxes compared: those with finite numbers that are not all 0.
        misfits: By name of the format, the number of boxes that leave their image, are less than a pixel wide or high,
            or end before they begin.
        in_corner: Whether, as pixels, all boxes lie in a corner of their far larger images, which they fill.
    """

    boxes: int
    misfits: Mapping[str, int]
    in_corner: bool

    @property
    def format(self) -> BoxFormat:
        """COCO's own format, unless the boxes fit another one much better."""
        if self.in_corner:
            best = self._best(_PERCENTAGES)
            if self.misfits[best.name] <= _MOST_EXPLAINED * self.boxes:
                return best
        best, own = self._best(_OTHERS), self.misfits[COCO.name]
        if best.side is not None:
            is_suspect = own >= max(1, _SHARE_OF_SPECKS * self.boxes)
        else:
            is_suspect = own >= max(_FEWEST_MISFITS, _SHARE_OF_MISFITS * self.boxes)
        return best if is_suspect and self.misfits[best.name] <= _MOST_EXPLAINED * own else COCO

    @property
    def equals(self) -> tuple[BoxFormat, ...]:
        """The format and those of the same kind that the boxes fit as well, such as rows first in square images."""
        chosen = self.format
        return tuple(one for one in _kind_of(chosen) if self.misfits[one.name] == self.misfits[chosen.name])

    def sentence(self) -> str:
        """The evidence against COCO's own format, for people."""
        chosen = self.format
        words = " or ".join(one.words for one in self.equals)
        counts = ", ".join(f"{one.name} {self.misfits[one.name]:,}" for one in _kind_of(chosen))
        corner = f"read as {COCO.name}, all lie within 100 pixels of a corner of their far larger images; "
        return (
            f"its boxes seem to be {words}, not {COCO.words}; {corner if chosen in _PERCENTAGES else ''}of "
            f"{self.boxes:,} boxes, those that leave their image, end before they begin or are below a pixel number, "
            f"read as {counts}"
        )

    def _best(self, formats: Iterable[BoxFormat]) -> BoxFormat:
        return min(formats, key=lambda one: self.misfits[one.name])


def _kind_of(one: BoxFormat) -> tuple[BoxFormat, ...]:
    return _PERCENTAGES if one in _PERCENTAGES else _OTHERS


def evidence(boxes: Array, sizes_px: Array) -> Evidence:
    """Compares boxes with their images, for each format.

    Args:
        boxes: ``[n, 4]``, as in the file.
        sizes_px: ``[n, 2]``, height and width of the image of each box; NaN if unknown.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        compared = np.isfinite(boxes).all(axis=1) & boxes.any(axis=1)
        boxes, sizes_px = boxes[compared], sizes_px[compared]
        found = {name: int(misfits(one, boxes, sizes_px).sum()) for name, one in FORMATS.items()}
        in_corner = _fill_a_corner(boxes[sizes_px.min(axis=1) >= _LARGE_PX])
    return Evidence(boxes=len(boxes), misfits=found, in_corner=in_corner)


def _fill_a_corner(boxes: Array) -> bool:
    """Returns if numbers that may be pixels are more likely percentages; ``boxes`` are ``[n, 4]`` of large images."""
    if len(boxes) < _FEWEST_IN_CORNER or np.any(np.abs(boxes) > _CORNER_PX):
        return False
    return bool(np.all((boxes[:, :2] + boxes[:, 2:]).max(axis=0) > _FILLED_PX))


def are_resized(boxes: Array, sizes_px: Array, stated_px: Array, chosen: BoxFormat) -> NDArray[np.bool_]:
    """Returns which boxes leave their image and fit the other size that its entry states, if these are many; ``[n]``.

    Images that were resized without their boxes have such.

    Args:
        boxes: ``[n, 4]``, as in the file.
        sizes_px: ``[n, 2]``, height and width of the image of each box; NaN if unknown.
        stated_px: ``[n, 2]``, those in its entry; NaN if it states none.
        chosen: The format of the boxes.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        other = np.isfinite(sizes_px + stated_px).all(axis=1)
        for same in (stated_px, stated_px[:, ::-1]):  # swapped sides are those of an image that EXIF turns
            other &= np.any(sizes_px != same, axis=1)
        found = other & misfits(chosen, boxes, sizes_px) & ~misfits(chosen, boxes, stated_px)
    many = chosen.side is None and found.sum() >= max(_FEWEST_MISFITS, _SHARE_OF_MISFITS * len(boxes))
    return found & np.bool_(many)


def misfits(one: BoxFormat, boxes: Array, sizes_px: Array) -> NDArray[np.bool_]:
    """Returns which boxes leave their image, are less than a pixel wide or high, or end before they begin; ``[n]``."""
    corners: Array = np.stack(one.corners(*boxes.T), axis=1)
    low, high = corners[:, :2], corners[:, 2:]
    if one.side is not None:
        least, sides, slack = 0.0, np.full_like(low, one.side), np.full_like(low, _ROUNDING * one.side)
    else:
        least, sides = _LEAST_PX, sizes_px[:, ::-1]
        slack = np.fmax(1.0, _ROUNDING * sides)
    return np.asarray(np.any((high - low <= least) | (low < -slack) | (high > sides + slack), axis=1), np.bool_)
