"""Centerness: how central an anchor is in the box that it predicts.

Source: Tian et al., FCOS, section 3.2 and equation 3, arXiv:1904.01355; with anchors: Zhang et al., Bridging the Gap
Between Anchor-based and Anchor-free Detection, arXiv:1912.02424.

Shape symbols: N batch, A anchors, K classes.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_SMALLEST = 1e-30  # keeps the logarithm of a score of 1 finite


def centerness(boxes: tf.Tensor, anchors: np.ndarray) -> tf.Tensor:
    """Returns the centerness ``[N, A]`` of the centers of ``anchors`` ``[A, 4]`` in ``boxes`` ``[N, A, 4]``.

    It is 1 in the middle of a box, and 0 on its edge and outside.
    """
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    before, after = centers - boxes[..., :2], boxes[..., 2:] - centers
    nearer = tf.maximum(tf.minimum(before, after), 0.0)
    vertical, horizontal = tf.unstack(tf.math.divide_no_nan(nearer, tf.maximum(before, after)), axis=-1)
    return tf.sqrt(vertical * horizontal)


def weighed_logits(logits: tf.Tensor, centerness_logits: tf.Tensor) -> tf.Tensor:
    """Returns the logits of scores that are the geometric mean of class score and centerness.

    With ``d`` the negative logarithm of that mean, its logit is ``-d - log(1 - exp(-d))``, which stays exact for scores
    near 0 and 1.

    Args:
        logits: ``[N, A, K]`` of the classes.
        centerness_logits: ``[N, A, 1]``.
    """
    distance = (tf.nn.softplus(-logits) + tf.nn.softplus(-centerness_logits)) / 2
    return -distance - tf.math.log(_SMALLEST - tf.math.expm1(-distance))
