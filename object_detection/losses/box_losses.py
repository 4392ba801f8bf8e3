"""Losses of predicted boxes: Huber loss compares their codes, the others the boxes themselves.

Boxes are ``[ymin, xmin, ymax, xmax]`` of the same frame, ``[..., 4]``; losses are ``[...]``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from object_detection.boxes import box_ops


def huber_loss(codes: tf.Tensor, targets: tf.Tensor, *, delta: float = 1.0) -> tf.Tensor:
    """Computes the squared error up to ``delta`` and the absolute error beyond, summed over the last axis.

    Args:
        codes: ``[..., 4]``.
        targets: ``[..., 4]``.
        delta: Error at which the parabola continues as a line of the same slope.

    Returns:
        ``[...]``.
    """
    error = tf.abs(codes - targets)
    near = tf.minimum(error, delta)
    return tf.reduce_sum(0.5 * near * near + delta * (error - near), axis=-1)


def giou_loss(boxes: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes one minus the overlap, plus the share of the hull that neither box covers; at most 2.

    Source: Rezatofighi et al., Generalized Intersection over Union, algorithm 1, arXiv:1902.09630.
    """
    pair = _compare(boxes, targets)
    hull = pair.hull_height * pair.hull_width
    return 1.0 - pair.iou + tf.math.divide_no_nan(hull - pair.union, hull)


def diou_loss(boxes: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes one minus the overlap, plus the squared distance of the centers over the hull's squared diagonal.

    Source: Zheng et al., Distance-IoU Loss, equation 7, arXiv:1911.08287.
    """
    pair = _compare(boxes, targets)
    return 1.0 - pair.iou + _distance(pair)


def ciou_loss(boxes: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes ``diou_loss`` plus a penalty for another aspect ratio, whose weight is a constant of the gradient.

    Source: Zheng et al., Distance-IoU Loss, equations 8 to 11, arXiv:1911.08287.
    """
    pair = _compare(boxes, targets)
    angles = [tf.math.atan2(width, height) for height, width in map(box_ops.sides, (boxes, targets))]
    difference = 4.0 / math.pi**2 * tf.square(angles[0] - angles[1])
    weight = tf.stop_gradient(tf.math.divide_no_nan(difference, 1.0 - pair.iou + difference))
    return 1.0 - pair.iou + _distance(pair) + weight * difference


LOSSES_OF_BOXES = {"giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}


class _Pair(NamedTuple):
    """Two boxes and the smallest box around both, the hull."""

    iou: tf.Tensor
    union: tf.Tensor
    hull_height: tf.Tensor
    hull_width: tf.Tensor
    dy: tf.Tensor
    dx: tf.Tensor


def _compare(boxes: tf.Tensor, targets: tf.Tensor) -> _Pair:
    shared = box_ops.aligned_intersection(boxes, targets)
    union = box_ops.area(boxes) + box_ops.area(targets) - shared
    low, high = tf.minimum(boxes[..., :2], targets[..., :2]), tf.maximum(boxes[..., 2:], targets[..., 2:])
    height, width = tf.unstack(high - low, axis=-1)
    dy, dx = tf.unstack((boxes[..., :2] + boxes[..., 2:] - targets[..., :2] - targets[..., 2:]) / 2, axis=-1)
    return _Pair(tf.math.divide_no_nan(shared, union), union, height, width, dy, dx)


def _distance(pair: _Pair) -> tf.Tensor:
    diagonal = tf.square(pair.hull_height) + tf.square(pair.hull_width)
    return tf.math.divide_no_nan(tf.square(pair.dy) + tf.square(pair.dx), diagonal)
