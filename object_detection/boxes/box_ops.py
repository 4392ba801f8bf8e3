"""Arithmetic on boxes.

A box is ``[ymin, xmin, ymax, xmax]``, in [0, 1] of the image's sides unless a function says otherwise. Tensors of boxes
are ``[..., 4]``; pairs of ``[..., P, 4]`` and ``[..., Q, 4]`` give ``[..., P, Q]``.
"""

from __future__ import annotations

import tensorflow as tf


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Returns areas, ``[...]``."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return (ymax - ymin) * (xmax - xmin)


def intersection(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the area that each pair of boxes shares, ``[..., P, Q]``; 0 if they only touch."""
    ymin, xmin, ymax, xmax = tf.unstack(first[..., :, tf.newaxis, :], axis=-1)
    other_ymin, other_xmin, other_ymax, other_xmax = tf.unstack(second[..., tf.newaxis, :, :], axis=-1)
    height = tf.maximum(tf.minimum(ymax, other_ymax) - tf.maximum(ymin, other_ymin), 0.0)
    width = tf.maximum(tf.minimum(xmax, other_xmax) - tf.maximum(xmin, other_xmin), 0.0)
    return height * width


def sides(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns heights and widths, ``[...]`` each."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return ymax - ymin, xmax - xmin


def aligned_intersection(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the area that the boxes of equal index share, ``[...]``."""
    low, high = tf.maximum(first[..., :2], second[..., :2]), tf.minimum(first[..., 2:], second[..., 2:])
    height, width = tf.unstack(tf.maximum(high - low, 0.0), axis=-1)
    return height * width


def aligned_iou(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the intersection over union of the boxes of equal index, ``[...]``; 0 for boxes without area."""
    shared = aligned_intersection(first, second)
    return tf.math.divide_no_nan(shared, area(first) + area(second) - shared)


def iou(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the intersection over union of pairs, ``[..., P, Q]``; 0 for disjoint boxes and boxes without area."""
    shared = intersection(first, second)
    union = area(first)[..., :, tf.newaxis] + area(second)[..., tf.newaxis, :] - shared
    return tf.math.divide_no_nan(shared, union)


def covered(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns the share of each box's area ``[P]`` inside one window ``[4]``; 0 for a box without area."""
    return tf.math.divide_no_nan(intersection(boxes, window[tf.newaxis])[..., 0], area(boxes))


def clip(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Clips boxes to a window; boxes outside of it end up on its edge, without area."""
    low, high = tf.concat([window[:2], window[:2]], axis=0), tf.concat([window[2:], window[2:]], axis=0)
    return tf.clip_by_value(boxes, low, high)


def contain(boxes: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Returns a mask of the ``points`` ``[Q, 2]`` inside each of the boxes ``[..., P, 4]``; edges are outside."""
    low, high = boxes[..., tf.newaxis, :2], boxes[..., tf.newaxis, 2:]
    return tf.reduce_all((points > low) & (points < high), axis=-1)


def touches_inside(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns a mask of the boxes that lie at least partly in a window, ``[P]``; touching its edge is not enough."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    top, left, bottom, right = tf.unstack(window)
    return (ymin < bottom) & (xmin < right) & (ymax > top) & (xmax > left)


def change_frame(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Converts boxes to coordinates in which the window is ``[0, 0, 1, 1]``."""
    corner, size = window[:2], window[2:] - window[:2]
    return (boxes - tf.tile(corner, [2])) / tf.tile(size, [2])


def with_aspect(boxes: tf.Tensor, aspect: float) -> tf.Tensor:
    """Returns the boxes in units of the height of an image whose width over height is ``aspect``."""
    return boxes * tf.constant([1.0, aspect, 1.0, aspect])


def flip_left_right(boxes: tf.Tensor) -> tf.Tensor:
    """Returns the boxes of the mirrored image."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=-1)


def flip_up_down(boxes: tf.Tensor) -> tf.Tensor:
    """Returns the boxes of the image turned upside down as in a mirror below it."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return tf.stack([1.0 - ymax, xmin, 1.0 - ymin, xmax], axis=-1)


def turn_left(boxes: tf.Tensor) -> tf.Tensor:
    """Returns the boxes of the image turned counterclockwise by a quarter."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return tf.stack([1.0 - xmax, ymin, 1.0 - xmin, ymax], axis=-1)
