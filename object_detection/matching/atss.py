"""Matching by adaptive training sample selection: each groundtruth box gets a threshold of its own.

Source: Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection, algorithm 1, arXiv:1912.02424.
The standard deviation is that of a sample, with one less than the number of candidates as its divisor, which the paper
leaves open.

Shape symbols: N batch, G groundtruth boxes, A anchors, C cells of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from object_detection.boxes import box_ops
from object_detection.matching.matcher import best_overlapping

NEAREST = 9
"""Cells of each level whose anchors are candidates."""


def match_adaptively(
    boxes: tf.Tensor, valid: tf.Tensor, anchors: tf.Tensor, cells: Sequence[int], aspect: float = 1.0
) -> tf.Tensor:
    """Matches anchors with groundtruth boxes by the statistics of each box's overlaps.

    The candidates of a box are the anchors on the ``NEAREST`` cells of each level, by the distance between the centers.
    A candidate is positive if it overlaps the box by at least the mean plus the standard deviation of all candidates,
    and its center is inside the box. Of several boxes, an anchor gets the one that it overlaps most. Among equals the
    lower index wins, of cells and of boxes.

    Args:
        boxes: ``[N, G, 4]``.
        valid: ``[N, G]`` boolean, False for padding, which matches nothing.
        anchors: ``[A, 4]``, A static, as many on every cell, in the order of ``object_detection.boxes.anchors``.
        cells: The number of cells of each level.
        aspect: Width over height of the image, by which distances are measured.

    Returns:
        ``[N, A]`` int64: the index of a groundtruth box or ``UNMATCHED``.
    """
    per_cell = anchors.shape[0] // sum(cells)
    overlaps, centers = box_ops.iou(boxes, anchors[tf.newaxis]), (anchors[:, :2] + anchors[:, 2:]) / 2
    near = _near_cells(boxes, centers[::per_cell], cells, aspect)
    candidates = _of_anchors(near, per_cell)
    count = per_cell * sum(min(NEAREST, cells_of_level) for cells_of_level in cells)
    mean = tf.reduce_sum(tf.where(candidates, overlaps, 0.0), axis=2, keepdims=True) / count
    squares = tf.where(candidates, tf.square(overlaps - mean), 0.0)
    deviation = tf.sqrt(tf.reduce_sum(squares, axis=2, keepdims=True) / max(count - 1, 1))
    inside = box_ops.contain(boxes, centers) & valid[..., tf.newaxis]
    return best_overlapping(candidates & (overlaps >= mean + deviation) & inside, overlaps)


def _near_cells(boxes: tf.Tensor, centers: tf.Tensor, cells: Sequence[int], aspect: float) -> tf.Tensor:
    """Returns a mask of the ``NEAREST`` cells of each level, ``[N, G, C]``."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    steps = middle[:, :, tf.newaxis] - centers
    distances = tf.reduce_sum(tf.square(steps if aspect == 1 else steps * tf.constant([1.0, aspect])), axis=3)
    masks = []
    for level in tf.split(distances, list(cells), axis=2):
        size = level.shape[2]
        nearest = tf.cast(tf.math.top_k(-level, min(NEAREST, size)).indices, tf.int64)  # int32 is computed on the host
        masks.append(tf.reduce_any(tf.equal(nearest[..., tf.newaxis], np.arange(size)), axis=2))
    return tf.concat(masks, axis=2)


def _of_anchors(of_cells: tf.Tensor, per_cell: int) -> tf.Tensor:
    """Repeats a mask of cells ``[N, G, C]`` for the anchors on each, ``[N, G, A]``."""
    if per_cell == 1:
        return of_cells
    shape = tf.shape(of_cells)
    repeated = tf.tile(of_cells[..., tf.newaxis], [1, 1, 1, per_cell])
    return tf.reshape(repeated, [shape[0], shape[1], of_cells.shape[2] * per_cell])
