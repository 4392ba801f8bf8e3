"""Boxes as offsets from anchors, and back.

A code is ``[ty, tx, th, tw]``: the shift of the center in anchor sides and the logarithm of the side ratio, each
multiplied by a constant.

Source: Ren et al., Faster R-CNN, equation 2, arXiv:1506.01497.
Differs from the paper: codes are multiplied by constants, as in later detectors.
"""

from __future__ import annotations

import tensorflow as tf

from utils.detection_config import BoxCoderSpec

_EPSILON = 1e-8  # added to heights and widths before logarithms


def encode(boxes: tf.Tensor, anchors: tf.Tensor, spec: BoxCoderSpec) -> tf.Tensor:
    """Encodes ``boxes`` ``[..., 4]`` relative to ``anchors`` ``[..., 4]``."""
    y, x, height, width = _center_form(boxes)
    anchor_y, anchor_x, anchor_height, anchor_width = _center_form(anchors)
    height, width, anchor_height, anchor_width = (
        side + _EPSILON for side in (height, width, anchor_height, anchor_width)
    )
    return tf.stack(
        [
            spec.y_scale * (y - anchor_y) / anchor_height,
            spec.x_scale * (x - anchor_x) / anchor_width,
            spec.height_scale * tf.math.log(height / anchor_height),
            spec.width_scale * tf.math.log(width / anchor_width),
        ],
        axis=-1,
    )


def decode(codes: tf.Tensor, anchors: tf.Tensor, spec: BoxCoderSpec) -> tf.Tensor:
    """Decodes ``codes`` to boxes ``[..., 4]``."""
    ty, tx, th, tw = tf.unstack(codes, axis=-1)
    anchor_y, anchor_x, anchor_height, anchor_width = _center_form(anchors)
    th, tw = th / spec.height_scale, tw / spec.width_scale
    if spec.largest_log is not None:
        th, tw = tf.minimum(th, spec.largest_log), tf.minimum(tw, spec.largest_log)
    y, x = anchor_y + ty / spec.y_scale * anchor_height, anchor_x + tx / spec.x_scale * anchor_width
    half_height, half_width = tf.exp(th) * anchor_height / 2, tf.exp(tw) * anchor_width / 2
    return tf.stack([y - half_height, x - half_width, y + half_height, x + half_width], axis=-1)


def _center_form(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    height, width = ymax - ymin, xmax - xmin
    return ymin + height / 2, xmin + width / 2, height, width
