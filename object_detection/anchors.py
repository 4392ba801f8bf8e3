"""Anchors of a feature pyramid, computed once in NumPy (no TF).

Source: Lin et al., Focal Loss for Dense Object Detection, section 4, arXiv:1708.02002.
Differs from the paper: two scales per octave instead of three; an anchor's center is the middle of its cell only on
levels whose stride divides the image's side, else the cell's upper left corner, as in the checkpoints that exist
(``centred`` puts all in the middle).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorSpec:
    """Which anchors stand on which cells.

    Attributes:
        min_level: First level l of the pyramid; its cells are 2^l pixels wide.
        max_level: Last level.
        scale: Side of a level's smallest square anchor, in cells.
        aspect_ratios: Width over height.
        scales_per_octave: Sizes between one level and the next: ``scale * 2^(i / scales_per_octave)``.
        centred: Put the anchors of every level in the middle of their cells.
    """

    min_level: int = 3
    max_level: int = 7
    scale: float = 4.0
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    scales_per_octave: int = 2
    centred: bool = False

    @property
    def levels(self) -> range:
        return range(self.min_level, self.max_level + 1)

    @property
    def per_cell(self) -> int:
        """Anchors on one cell."""
        return len(self.aspect_ratios) * self.scales_per_octave


def feature_sides(image_side: int, spec: AnchorSpec) -> tuple[int, ...]:
    """Cells along a side of the image, by level: each level halves the one before, rounded up."""
    return tuple(-(-image_side // 2**level) for level in spec.levels)


def pyramid_anchors(height_px: int, width_px: int, spec: AnchorSpec) -> np.ndarray:
    """All anchors, ``[A, 4]`` float32 in [0, 1] of the image's sides; those at its edges reach beyond.

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
    """Anchors of ``sizes_px`` ``[S, 2]`` (height, width) on a grid, ``[rows * columns * S, 4]`` in pixels, float64."""
    rows, columns = (np.arange(count) * stride + start for count, start in zip(cells, offset, strict=True))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    centers = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
    halves = np.asarray(sizes_px, np.float64)[np.newaxis] / 2
    return np.concatenate([centers - halves, centers + halves], axis=-1).reshape(-1, 4)


def _sizes_px(level: int, spec: AnchorSpec) -> np.ndarray:
    base = spec.scale * 2**level
    scales = [2 ** (i / spec.scales_per_octave) for i in range(spec.scales_per_octave)]
    return np.array(
        [(base * s / math.sqrt(ratio), base * s * math.sqrt(ratio)) for ratio in spec.aspect_ratios for s in scales]
    )


def _offset(side_px: int, stride: int, centred: bool) -> float:
    return stride / 2 if centred or side_px % stride == 0 or side_px == 1 else 0.0
