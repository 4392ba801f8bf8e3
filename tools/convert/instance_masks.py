"""Draws the outline of one object as a mask of the whole image (no TF)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from utils.errors import RunError

_FARTHEST = 10
"""Sides of the image beyond which no point of a polygon lies."""
_MOST_PIXELS = 1 << 28
_LONGEST_NUMBER = 60  # bits


def check_pycocotools() -> None:
    """Checks for the package that draws outlines.

    Raises:
        RunError: It cannot be imported.
    """
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise RunError(f"--include_masks: needs the package pycocotools, which cannot be imported ({error})") from error


def draw_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Draws an outline.

    Args:
        segmentation: In COCO's form: a list of polygons ``[x, y, x, y, ...]`` in pixels, or run lengths
            ``{"counts": list or text, "size": [height, width]}``.
        height: Height of the stored image in pixels.
        width: Its width in pixels.

    Returns:
        ``[height, width]`` uint8, 1 where the object is. Run lengths of another size are cut, or filled with 0.

    Raises:
        ValueError: The segmentation is neither.
    """
    try:
        if isinstance(segmentation, list):
            segmentation = _fill(segmentation, height, width)
        drawn = _decode(segmentation["counts"], *segmentation["size"])
    except Exception as error:  # pycocotools' C code and its checks raise errors of any type
        raise ValueError(f"is neither polygons nor run lengths ({error or type(error).__name__})") from error
    canvas = np.zeros((height, width), np.uint8)
    part = drawn[:height, :width]
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas


def _fill(polygons: list[list[float]], height: int, width: int) -> dict[str, Any]:
    """The run lengths of the union of polygons.

    pycocotools' C code walks along every edge, and neither ends nor checks its memory for points that are far away.
    """
    from pycocotools import mask  # needed for nothing else, and only where masks are asked for

    farthest = _FARTHEST * max(height, width)
    for number in (number for polygon in polygons for number in polygon):
        if not abs(number) <= farthest:
            raise ValueError(f"a point lies at {number:g}")
    merged: dict[str, Any] = mask.merge(mask.frPyObjects(polygons, height, width))
    return merged


def _decode(counts: list[int] | str | bytes, height: int, width: int) -> np.ndarray:
    """The mask of run lengths, which run down the columns and begin with the zeros.

    pycocotools' own ``decode`` (2.0.11) makes NumPy 2 warn.
    """
    if height * width > _MOST_PIXELS:
        raise ValueError(f"a mask of {height * width:,} pixels")
    runs = counts if isinstance(counts, list) else _unpack(counts.encode() if isinstance(counts, str) else counts)
    if min(runs) < 0 or sum(runs) != height * width:
        raise ValueError(f"{sum(runs)} pixels in runs, and {height * width} in the mask")
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.repeat(values, runs).reshape(width, height).T


def _unpack(packed: bytes) -> list[int]:
    """Run lengths from COCO's text form.

    Every number is written in groups of 5 bits, lowest first, as characters from "0" on. Bit 5 says that another group
    follows; bit 4 of the last group is the sign. From the fourth number on, the text stores the difference from the
    number two places before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in packed:
        group = character - ord("0")
        value |= (group & 31) << shift
        shift += 5
        if shift > _LONGEST_NUMBER:
            raise ValueError("a number that does not end")
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def turn_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """The mask after an image with this EXIF orientation (1 to 8) is turned upright, as in ``turn_box``."""
    if orientation >= 5:
        mask = mask.T
    if orientation in (3, 4, 7, 8):
        mask = mask[::-1]
    if orientation in (2, 3, 6, 7):
        mask = mask[:, ::-1]
    return np.ascontiguousarray(mask)


def encode_png(pixels: Any) -> bytes:
    """The PNG file of a uint8 array, ``[height, width]`` or ``[height, width, 3]``."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)  # a third of the default level's time for masks
    return buffer.getvalue()
