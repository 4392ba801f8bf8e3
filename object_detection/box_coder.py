"""Boxes as offsets from anchors, and back.

Source: Ren et al., Faster R-CNN, equation 2, arXiv:1506.01497.
Differs from the paper: each of the four is multiplied by a constant, as is usual since.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

_EPSILON = 1e-8  # added to heights and widths before logarithms


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCoder:
    """Codes ``[ty, tx, th, tw]``: shift of the center in anchor sides and logarithm of the side ratio, scaled.

    Attributes:
        y_scale: Factor of ty.
        x_scale: Factor of tx.
        height_scale: Factor of th.
        width_scale: Factor of tw.
        largest_log: Decoding clamps the logarithm of a side ratio to this, or not at all (None).
    """

    y_scale: float = 10.0
    x_scale: float = 10.0
    height_scale: float = 5.0
    width_scale: float = 5.0
    largest_log: float | None = None

    def encode(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        """Codes of ``boxes`` ``[..., 4]`` seen from ``anchors`` ``[..., 4]``."""
        y, x, height, width = _center_form(boxes)
        anchor_y, anchor_x, anchor_height, anchor_width = _center_form(anchors)
        height, width, anchor_height, anchor_width = (
            side + _EPSILON for side in (height, width, anchor_height, anchor_width)
        )
        return tf.stack(
            [
                self.y_scale * (y - anchor_y) / anchor_height,
                self.x_scale * (x - anchor_x) / anchor_width,
                self.height_scale * tf.math.log(height / anchor_height),
                self.width_scale * tf.math.log(width / anchor_width),
            ],
            axis=-1,
        )

    def decode(self, codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        """The boxes ``[..., 4]`` that ``codes`` stand for."""
        ty, tx, th, tw = tf.unstack(codes, axis=-1)
        anchor_y, anchor_x, anchor_height, anchor_width = _center_form(anchors)
        th, tw = th / self.height_scale, tw / self.width_scale
        if self.largest_log is not None:
            th, tw = tf.minimum(th, self.largest_log), tf.minimum(tw, self.largest_log)
        y, x = anchor_y + ty / self.y_scale * anchor_height, anchor_x + tx / self.x_scale * anchor_width
        half_height, half_width = tf.exp(th) * anchor_height / 2, tf.exp(tw) * anchor_width / 2
        return tf.stack([y - half_height, x - half_width, y + half_height, x + half_width], axis=-1)


def _center_form(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    height, width = ymax - ymin, xmax - xmin
    return ymin + height / 2, xmin + width / 2, height, width
