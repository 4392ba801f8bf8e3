"""Anchors of a feature pyramid, computed once in NumPy (no TF).

Source: Lin et al., Focal Loss for Dense Object Detection, section 4, arXiv:1708.02002.
Differs from the paper: two scales per octave instead of three; an anchor's center is the middle of its cell only on
levels whose stride divides the image's side, else the cell's upper left corner, as in published checkpoints
(``centred`` puts every anchor in the middle).
"""

from __future__ import annotations

import math

import numpy as np

from utils.detection_config import AnchorSpec


def feature_sides(image_side: int, spec: AnchorSpec) -> tuple[int, ...]:
    """Returns the cells along a side of the image for each level: half of the level before, rounded up."""
    return tuple(-(-image_side // 2**level) for level in spec.levels)


def cells_of_levels(height_px: int, width_px: int, spec: AnchorSpec) -> tuple[int, ...]:
    """Returns the number of cells on each level."""
    sides = zip(feature_sides(height_px, spec), feature_sides(width_px, spec), strict=True)
    return tuple(rows * columns for rows, columns in sides)


def pyramid_anchors(height_px: int, width_px: int, spec: AnchorSpec) -> np.ndarray:
    """Returns all anchors, ``[A, 4]`` float32, relative to the image's sides; at the edges they exceed [0, 1].

    Order: level, row, column, aspect ratio, scale.
    """
    levels = []
    for level, rows, columns in zip(
        spec.levels, feature_sides(height_px, spec), feature_sides(width_px, spec), strict=True
    ):
        stride = 2**level
        offsets = [_offset(side, stride, spec.centred) for side in (height_px, width_px)]
        levels.append(grid_anchors((rows, columns), stride, offsets, _sizes_px(level, spec)))
    scale = np.array([height_px, width_px, height_px, width_px], np.float64)
    return (np.concatenate(levels) / scale).astype(np.float32)


def grid_anchors(
    cells: tuple[int, int], stride: float, offset: list[float] | tuple[float, float], sizes_px: np.ndarray
) -> np.ndarray:
    """Places anchors of ``sizes_px`` ``[S, 2]`` (height, width) on a grid: ``[rows * columns * S, 4]`` px, float64."""
    rows, columns = (np.arange(count) * stride + start for count, start in zip(cells, offset, strict=True))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    centers = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
    halves = np.asarray(sizes_px, np.float64)[np.newaxis] / 2
    return np.concatenate([centers - halves, centers + halves], axis=-1).reshape(-1, 4)


def _sizes_px(level: int, spec: AnchorSpec) -> np.ndarray:
    sides = ((scale * 2**level, math.sqrt(ratio)) for scale, ratio in spec.shapes)
    return np.array([(side / root, side * root) for side, root in sides])


def _offset(side_px: int, stride: int, centred: bool) -> float:
    return stride / 2 if centred or side_px % stride == 0 or side_px == 1 else 0.0
