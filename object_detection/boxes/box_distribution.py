"""Boxes as distributions of the distance from an anchor's center to each side, in cells of the anchor's level.

The expected distances take the place of the codes of ``object_detection.boxes.box_coder``. They are in the order of a
box's sides, ``[top, left, bottom, right]``.

Source: Li et al., Generalized Focal Loss, section 3.2 and equation 6, arXiv:2006.04388.

Shape symbols: N batch, A anchors, B places of a distribution.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from model.specs import BOX_BINS, CODE_SIZE
from object_detection.boxes.box_coder import decode
from utils.detection_config import AnchorSpec, DetectionConfig

PLACES = np.arange(BOX_BINS, dtype=np.float32)
"""The distances that a distribution chooses among, in cells."""


def decoded(codes: tf.Tensor, anchors: np.ndarray, detection: DetectionConfig) -> tf.Tensor:
    """Decodes the endpoint "box_codes", ``[N, A, 4]``, to boxes: distances or codes, as the head predicts them."""
    if detection.heads.distribution:
        return boxes_of(codes, anchors, cell_sides(anchors, detection.anchors))
    return decode(codes, tf.constant(anchors), detection.coder)


def cell_sides(anchors: np.ndarray, spec: AnchorSpec) -> np.ndarray:
    """Returns height and width of the cell under each of the ``anchors`` ``[A, 4]``: ``[A, 2]`` in their unit."""
    in_cells = np.array([(scale / math.sqrt(ratio), scale * math.sqrt(ratio)) for scale, ratio in spec.shapes])
    sides = (anchors[:, 2:] - anchors[:, :2]).reshape(-1, *in_cells.shape)
    cells: np.ndarray = (sides / in_cells).reshape(-1, 2).astype(np.float32)
    return cells


def expected_distances(logits: tf.Tensor) -> tf.Tensor:
    """Returns the mean of each distribution, ``[N, A, 4]``, of ``logits`` ``[N, A, 4 * B]``."""
    return tf.reduce_sum(tf.nn.softmax(_by_side(logits)) * PLACES, axis=3)


def distances_of(boxes: tf.Tensor, anchors: np.ndarray, cells: np.ndarray) -> tf.Tensor:
    """Returns the distances of the sides of ``boxes`` ``[N, A, 4]`` in cells, negative if the center is beyond."""
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    return tf.concat([centers - boxes[..., :2], boxes[..., 2:] - centers], axis=-1) / np.tile(cells, 2)


def boxes_of(distances: tf.Tensor, anchors: np.ndarray, cells: np.ndarray) -> tf.Tensor:
    """Returns the boxes ``[N, A, 4]`` whose sides have these ``distances`` ``[N, A, 4]`` in cells."""
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    before, after = tf.split(distances * np.tile(cells, 2), 2, axis=-1)
    return tf.concat([centers - before, centers + after], axis=-1)


def distribution_focal_loss(logits: tf.Tensor, distances: tf.Tensor) -> tf.Tensor:
    """Computes the cross-entropy of the two places around each distance, by nearness; the mean of the four sides.

    Args:
        logits: ``[N, A, 4 * B]``.
        distances: ``[N, A, 4]`` in cells; those beyond the first or last place count as that place.

    Returns:
        ``[N, A]``.
    """
    within = tf.clip_by_value(distances, PLACES[0], PLACES[-1])[..., tf.newaxis]
    shares = tf.nn.relu(1.0 - tf.abs(within - PLACES))
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(shares, _by_side(logits)), axis=2)


def _by_side(logits: tf.Tensor) -> tf.Tensor:
    """Returns ``[N, A, 4, B]``."""
    return tf.reshape(logits, [-1, logits.shape[1], CODE_SIZE, BOX_BINS])
